// fe_pieces - the beats of a transfer: contiguous pieces in DRAM and in a ring of the buffer.
//
// Control   : load_i takes the transfer; step_i moves on one beat. A beat ends with its piece, and where
//             the ring ends.
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

  logic [31:0] pieces_q, left_q, dram_q, dram_piece_q, offset_q, offset_piece_q;
  logic [31:0] room, step, bytes, next_offset, next_piece;
  logic        piece_end;

  assign room        = dma.buffer_ring - offset_q;
  assign step        = left_q < 32'(BeatBytes) ? left_q : 32'(BeatBytes);
  assign bytes       = room < step ? room : step;
  assign piece_end   = bytes == left_q;
  assign end_o       = piece_end && pieces_q == 32'd1;
  assign next_offset = bytes == room ? 32'd0 : offset_q + bytes;
  assign next_piece  = offset_piece_q + dma.buffer_step;

  assign dram_address_o   = dram_q;
  assign buffer_address_o = dma.buffer_base + offset_q;
  assign bytes_o          = bytes[15:0];

  always_ff @(posedge clk_i) begin
    if (load_i) begin
      pieces_q       <= dma.pieces;
      left_q         <= dma.piece_bytes;
      dram_q         <= dma.dram_base;
      dram_piece_q   <= dma.dram_base;
      offset_q       <= dma.buffer_first;
      offset_piece_q <= dma.buffer_first;
    end else if (step_i) begin
      left_q   <= left_q - bytes;
      dram_q   <= dram_q + bytes;
      offset_q <= next_offset;
      if (piece_end) begin
        pieces_q       <= pieces_q - 32'd1;
        left_q         <= dma.piece_bytes;
        dram_q         <= dram_piece_q + dma.dram_step;
        dram_piece_q   <= dram_piece_q + dma.dram_step;
        offset_q       <= next_piece >= dma.buffer_ring ? next_piece - dma.buffer_ring : next_piece;
        offset_piece_q <= next_piece >= dma.buffer_ring ? next_piece - dma.buffer_ring : next_piece;
      end
    end
  end
endmodule
`default_nettype wire
