// fe_sequencer - reads the program and hands each record to its unit's queue.
//
// Program   : 64-bit words; program_i is the word at address_o (in words) in the same cycle.
// Queues    : word_valid_o (one bit per unit) with word_o and word_last_o; a word moves where the unit's
//             word_ready_i is 1.
// End       : the record of unit 255 holds waits; over_o is 1 once they are met.
// Latency   : a header takes a cycle.  Throughput: a word per cycle.  Reset: synchronous, active low.
// Does not  : look at waits of other records.
`default_nettype none
module fe_sequencer #(
  parameter int WaitWords = 1,
  parameter int Units     = 3
) (
  input  wire                  clk_i,
  input  wire                  rst_ni,
  output logic [31:0]          address_o,
  input  wire  [63:0]          program_i,
  output logic [Units-1:0]     word_valid_o,
  input  wire  [Units-1:0]     word_ready_i,
  output logic                 word_last_o,
  output logic [63:0]          word_o,
  input  wire  [16*Units-1:0]  completed_i,
  output logic                 over_o
);
  localparam logic [7:0] EndUnit = 8'd255;

  logic                    payload_q, loaded_q, moves;
  logic [7:0]              unit_q, left_q;
  // verilator lint_off UNUSEDSIGNAL
  logic [64*WaitWords-1:0] waits_q;         // counts of units that the chip does not have
  // verilator lint_on UNUSEDSIGNAL

  assign word_o      = program_i;
  assign word_last_o = left_q == 8'd1;

  always_comb begin
    word_valid_o = '0;
    moves        = !payload_q || unit_q == EndUnit;
    for (int u = 0; u < Units; u++) begin
      if (payload_q && unit_q == 8'(u)) begin
        word_valid_o[u] = 1'b1;
        moves           = word_ready_i[u];
      end
    end
    over_o = loaded_q;
    for (int u = 0; u < Units; u++) begin
      if (completed_i[16*u+:16] < waits_q[16*u+:16]) over_o = 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      address_o <= '0;
      payload_q <= 1'b0;
      loaded_q  <= 1'b0;
    end else if (moves && !loaded_q) begin
      address_o <= address_o + 32'd1;
      payload_q <= payload_q ? !word_last_o : 1'b1;
      loaded_q  <= payload_q && word_last_o && unit_q == EndUnit;
    end
  end

  always_ff @(posedge clk_i) begin
    if (moves && !loaded_q) begin
      unit_q <= payload_q ? unit_q : program_i[7:0];
      left_q <= payload_q ? left_q - 8'd1 : program_i[15:8];
    end
    // the words of the last record move through, lowest first
    if (payload_q && unit_q == EndUnit && !loaded_q) waits_q <= (64*WaitWords)'({program_i, waits_q} >> 64);
  end
endmodule
`default_nettype wire
