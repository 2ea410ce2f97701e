// fe_pieces - the beats of a transfer: contiguous pieces in DRAM and in a ring of the buffer.
//
// Control   : load_i takes the transfer; step_i moves on one beat. A beat ends with its piece, and where
//             the ring ends. buffer_step is less than buffer_ring.
// Latency   : the first beat stands 2 cycles after load_i; outputs follow an edge with step_i at once.
// Throughput: 1 beat per cycle.
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

  // Places in the ring are kept as the bytes from there to its end: what a beat may take. What a beat is,
  // and where the next piece begins, is in registers: no comparison waits for another sum.
  logic [31:0] pieces_q, next_dram_q, next_room_q;      // pieces to come and the first of them
  logic [31:0] left_q, room_q;                          // of the piece, of the ring
  logic [31:0] ring_end_q;                              // buffer address behind the ring
  logic [31:0] back_q;                                  // bytes back to the next piece, around the ring's end
  logic [31:0] left_behind;                             // of the piece, behind the ring's end
  logic        loaded_q, piece_end_q, room_end_q, last_q, small_q;

  assign left_behind = left_q - room_q;
  assign end_o       = piece_end_q && last_q;
  assign bytes_o     = piece_end_q ? left_q[15:0] : room_end_q ? room_q[15:0] : Beat[15:0];

  always_ff @(posedge clk_i) begin
    loaded_q <= load_i;
    if (load_i) begin
      pieces_q    <= dma.pieces;
      small_q     <= dma.piece_bytes <= Beat;
      next_dram_q <= dma.dram_base;
      next_room_q <= dma.buffer_ring - dma.buffer_first;
      ring_end_q  <= dma.buffer_base + dma.buffer_ring;
      back_q      <= dma.buffer_ring - dma.buffer_step;
    end else if (loaded_q || (step_i && piece_end_q)) begin
      pieces_q         <= pieces_q - 32'd1;
      last_q           <= pieces_q == 32'd1;
      left_q           <= dma.piece_bytes;
      dram_address_o   <= next_dram_q;
      next_dram_q      <= next_dram_q + dma.dram_step;
      buffer_address_o <= ring_end_q - next_room_q;
      room_q           <= next_room_q;
      next_room_q      <= dma.buffer_step < next_room_q ? next_room_q - dma.buffer_step : next_room_q + back_q;
      room_end_q       <= next_room_q <= Beat;
      piece_end_q      <= small_q && dma.piece_bytes <= next_room_q;
    end else if (step_i && room_end_q) begin            // the piece goes on where the ring begins
      left_q           <= left_behind;
      dram_address_o   <= dram_address_o + room_q;
      buffer_address_o <= dma.buffer_base;
      room_q           <= dma.buffer_ring;
      room_end_q       <= dma.buffer_ring <= Beat;
      piece_end_q      <= left_behind <= Beat && left_behind <= dma.buffer_ring;
    end else if (step_i) begin
      left_q           <= left_q - Beat;
      dram_address_o   <= dram_address_o + Beat;
      buffer_address_o <= buffer_address_o + Beat;
      room_q           <= room_q - Beat;
      room_end_q       <= room_q <= 2 * Beat;
      piece_end_q      <= left_q <= 2 * Beat && left_q <= room_q;
    end
  end
endmodule
`default_nettype wire
