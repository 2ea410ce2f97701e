// fe_sequencer - reads the program, checks each record and hands it to its unit's queue.
//
// Program   : 64-bit words; program_i is the word at address_o (in words) in the same cycle.
// Queues    : word_valid_o (one bit per unit) with word_o and word_last_o; a word moves where the unit's
//             word_ready_i is 1.
// Check     : a header names its unit [7:0], the length of the payload in words [15:8], which must be the
//             unit's, and the CRC-32 [63:32] of its own lower half and the payload. word_last_o is 1 with
//             a record's last word only where all of that is right; otherwise error_o becomes and stays 1 and
//             nothing follows, so that no queue ever releases a damaged record.
// End       : the record of unit 255 holds waits; over_o is 1 once they are met.
// Latency   : 1 cycle.  Throughput: a word per cycle, headers too.  Reset: synchronous, active low.
// Does not  : look at waits of other records, or stop commands that run when an error is found.
`default_nettype none
module fe_sequencer #(
  parameter int                 WaitWords = 1,
  parameter int                 Units     = 3,
  parameter logic [8*Units-1:0] UnitWords = {Units{8'd2}}     // payload words of each unit's records
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
  output logic                 over_o,
  output logic                 error_o
);
  localparam logic [7:0] EndUnit = 8'd255;

  `include "fe_crc32.svh"

  logic                    payload_q;       // program_i belongs to the payload
  logic                    first_q;         // and is its first word
  logic                    valid_q;         // word_o is a word of the payload
  logic [Units-1:0]        mine_q;          // of this unit
  logic                    last_q;          // and the last one of its record
  logic                    loaded_q, moves, step, known, intact, ended;
  logic [7:0]              unit_q, left_q;
  logic [31:0]             crc_q, wanted_q;
  // verilator lint_off UNUSEDSIGNAL
  logic [64*WaitWords-1:0] waits_q;         // counts of units that the chip does not have
  // verilator lint_on UNUSEDSIGNAL

  // a word does not wait for the check, which takes long; that it is the last one does
  assign intact       = !last_q || crc_q == wanted_q;
  assign word_last_o  = last_q && intact;
  assign ended        = valid_q && unit_q == EndUnit;
  assign step         = moves && !loaded_q && !error_o;
  assign moves        = (mine_q & ~word_ready_i) == '0;
  assign word_valid_o = mine_q & {Units{!error_o}};

  always_comb begin
    known  = unit_q == EndUnit && left_q == 8'(WaitWords);
    over_o = loaded_q;
    for (int u = 0; u < Units; u++) begin
      if (unit_q == 8'(u)) known = left_q == UnitWords[8*u+:8];
      if (completed_i[16*u+:16] < waits_q[16*u+:16]) over_o = 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      address_o <= '0;
      {payload_q, first_q, valid_q, mine_q, loaded_q, error_o} <= '0;
    end else begin
      if (!loaded_q && ((first_q && !known) || (valid_q && !intact))) error_o <= 1'b1;
      if (step) begin
        address_o <= address_o + 32'd1;
        payload_q <= !payload_q || left_q != 8'd1;
        first_q   <= !payload_q;
        valid_q   <= payload_q;
        for (int u = 0; u < Units; u++) mine_q[u] <= payload_q && unit_q == 8'(u);
        loaded_q  <= ended && word_last_o;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (step) begin
      word_o <= program_i;
      last_q <= left_q == 8'd1;
      if (payload_q) begin
        left_q <= left_q - 8'd1;
        crc_q  <= crc32(crc_q, program_i);
      end else begin
        unit_q   <= program_i[7:0];
        left_q   <= program_i[15:8];
        wanted_q <= ~program_i[63:32];
        crc_q    <= crc32('1, {32'd0, program_i[31:0]});
      end
      // the words of the last record move through, lowest first
      if (ended) waits_q <= (64*WaitWords)'({word_o, waits_q} >> 64);
    end
  end
endmodule
`default_nettype wire
