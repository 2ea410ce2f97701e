// fe_pieces - the beats of a transfer: contiguous pieces in DRAM and in a ring of the buffer.
//
// Control   : load_i takes the transfer; step_i moves on one beat. A beat ends with its piece, and where
//             the ring ends. buffer_step is less than buffer_ring.
// Latency   : outputs follow an edge with load_i or step_i at once.  Throughput: 1 beat per cycle.
// Reset     : none; load before use.
// Does not  : transfer.
`default_nettype none
module fe_pieces #(
  parameter int BeatBytes  = 16,
  parameter int RecordBits = 320
) (
  input  wire                   clk_i,
  input  wire  [RecordBits-1:0] dma_i,
  input  wire                   load_i,
  input  wire                   step_i,
  output logic [31:0]           dram_address_o,
  output logic [31:0]           buffer_address_o,
  output logic [15:0]           bytes_o,
  output logic                  end_o           // this is the last beat
);
  `include "fe_dma_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  dma_record_t dma;                             // the direction is the DMA's business
  // verilator lint_on UNUSEDSIGNAL
  assign dma = dma_i;
  localparam logic [31:0] Beat = 32'(BeatBytes);

  // places in the ring are kept as the bytes from there to its end: what a beat may take
  logic [31:0] pieces_q, left_q, dram_q, dram_piece_q, room_q, room_piece_q;
  logic [31:0] ring_end_q;                      // buffer address behind the ring
  logic [31:0] back_q;                          // bytes back to the next piece, around the ring's end
  logic [31:0] next_room, next_dram;
  logic        piece_end, room_end;

  // all sums below are of registers, side by side, so that no carry waits for another
  assign piece_end = left_q <= Beat && left_q <= room_q;
  assign room_end  = room_q <= Beat;            // of a beat that does not end its piece
  assign end_o     = piece_end && pieces_q == 32'd1;
  assign next_room = dma.buffer_step < room_piece_q ? room_piece_q - dma.buffer_step : room_piece_q + back_q;
  assign next_dram = dram_piece_q + dma.dram_step;

  assign dram_address_o   = dram_q;
  assign buffer_address_o = ring_end_q - room_q;
  assign bytes_o          = piece_end ? left_q[15:0] : room_end ? room_q[15:0] : Beat[15:0];

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      pieces_q     <= dma.pieces;
      left_q       <= dma.piece_bytes;
      dram_q       <= dma.dram_base;
      dram_piece_q <= dma.dram_base;
      room_q       <= dma.buffer_ring - dma.buffer_first;
      room_piece_q <= dma.buffer_ring - dma.buffer_first;
      ring_end_q   <= dma.buffer_base + dma.buffer_ring;
      back_q       <= dma.buffer_ring - dma.buffer_step;
    end else if (step_i && piece_end) begin
      pieces_q     <= pieces_q - 32'd1;
      left_q       <= dma.piece_bytes;
      dram_q       <= next_dram;
      dram_piece_q <= next_dram;
      room_q       <= next_room;
      room_piece_q <= next_room;
    end else if (step_i) begin
      left_q <= room_end ? left_q - room_q : left_q - Beat;
      dram_q <= room_end ? dram_q + room_q : dram_q + Beat;
      room_q <= room_end ? dma.buffer_ring : room_q - Beat;
    end
  end
endmodule
`default_nettype wire
