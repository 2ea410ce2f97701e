// fe_queue - a unit's command queue: holds records and releases each when its waits are over.
//
// Filling   : word_valid_i writes one 64-bit word of the record being filled; it moves where
//             word_ready_o is 1 too; word_last_i completes the record. One that is never completed,
//             because the sequencer found it damaged, is never released.
// Release   : start_o is 1 for one cycle when the head record's waits are met and the unit is idle;
//             record_o (without its waits) is stable from then until done_i, which frees the entry and
//             counts, unless the record says that its command goes on (Counted = 1: field "counts").
// Latency   : start_o 1 cycle after completed_i meets the last wait, and 1 cycle after done_i of the
//             command before.  Throughput: a word per cycle.
// Reset     : synchronous, active low.
// Does not  : reorder.
`default_nettype none
module fe_queue #(
  parameter int WaitWords   = 1,
  parameter int FieldWords  = 2,
  parameter int Units       = 3,
  parameter int Depth       = 2,         // a power of two
  parameter bit Counted     = 1'b0       // bits 31:16 of the record: 0 where the command goes on
) (
  input  wire                       clk_i,
  input  wire                       rst_ni,
  input  wire                       word_valid_i,
  output logic                      word_ready_o,
  input  wire                       word_last_i,
  input  wire  [63:0]               word_i,
  input  wire  [16*Units-1:0]       completed_i,     // commands of each unit so far
  output logic                      start_o,
  output logic [64*FieldWords-1:0]  record_o,
  input  wire                       done_i,
  output logic                      complete_o       // one of this unit's commands is over
);
  localparam int Words    = WaitWords + FieldWords;
  localparam int DepthBits = $clog2(Depth);

  logic [64*Words-1:0]     entry_q [Depth];
  logic [64*FieldWords-1:0] record_q;                // of the head: what hangs on it is all over the chip
  logic [DepthBits-1:0]    head_q, head_next, following, tail_q;
  logic [DepthBits:0]      count_q;
  logic [Words-1:0]        turn_q;                   // the word of the record that comes next, one bit
  logic [Depth-1:0]        met;                      // the waits of each entry
  logic                    busy_q, free, push, finished;

  assign word_ready_o = count_q != (DepthBits + 1)'(Depth);
  assign push         = word_valid_i && word_ready_o && word_last_i;
  assign record_o     = record_q;
  assign finished     = done_i && busy_q;
  assign free         = finished || !(busy_q || start_o);
  assign head_next    = head_q + DepthBits'(finished);
  assign following    = head_q + DepthBits'(busy_q);
  assign complete_o   = finished && (!Counted || record_o[31:16] != '0);

  always_comb begin
    met = '1;
    for (int d = 0; d < Depth; d++) begin
      for (int u = 0; u < Units; u++) begin
        if (completed_i[16*u+:16] < entry_q[d][16*u+:16]) met[d] = 1'b0;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {head_q, tail_q, count_q, busy_q, start_o} <= '0;
      turn_q <= Words'(1);
    end else begin
      busy_q  <= start_o || (busy_q && !done_i);
      count_q <= count_q + (DepthBits + 1)'(push) - (DepthBits + 1)'(finished);
      head_q  <= head_next;
      start_o <= free && count_q != (DepthBits + 1)'(finished) && met[head_next];
      if (push)     tail_q <= tail_q + 1'b1;
      if (word_valid_i && word_ready_o) turn_q <= word_last_i ? Words'(1) : turn_q << 1;
    end
  end

  // done_i comes from far away: it only says when, which entry is known before
  always_ff @(posedge clk_i) begin
    if (!busy_q || done_i) record_q <= entry_q[following][64*Words-1:64*WaitWords];
  end

  for (genvar w = 0; w < Words; w++) begin : gen_word
    always_ff @(posedge clk_i) begin
      if (word_valid_i && word_ready_o && turn_q[w]) entry_q[tail_q][64*w+:64] <= word_i;
    end
  end
endmodule
`default_nettype wire
