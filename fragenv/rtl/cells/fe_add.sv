// fe_add - adds two int8 tensors of different scales: y = clamp(floor((da*ma + db*mb)/2^shift + 1/2) + zero),
// da = a - zero_a, db = b - zero_b.
//
// Constants : of residual_i, stable while valid_i is 1 and 6 cycles after; shift at most 40.
// Latency   : 6 cycles.  Throughput: Lanes elements per cycle, no stalls.
// Reset     : valid bits only, synchronous, active low.
// Does not  : check that a sum fits: it does where the multipliers have 24 bits.
// Numbers   : two's complement; halves round towards plus infinity; 24-bit unsigned multipliers.
`default_nettype none
module fe_add #(
  parameter int Lanes        = 8,
  parameter int ResidualBits = 384
) (
  input  wire                    clk_i,
  input  wire                    rst_ni,
  input  wire [ResidualBits-1:0] residual_i,
  input  wire                    valid_i,
  input  wire [8*Lanes-1:0]      a_i,
  input  wire [8*Lanes-1:0]      b_i,
  output logic                   valid_o,
  output logic [8*Lanes-1:0]     data_o
);
  `include "fe_residual_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  residual_record_t residual;             // the addresses are the business of others
  // verilator lint_on UNUSEDSIGNAL
  assign residual = residual_i;

  logic [4:0] valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) {valid_o, valid_q} <= '0;
    else         {valid_o, valid_q} <= {valid_q, valid_i};
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    // 1: differences; 2: products with the upper 7 and lower 17 bits of the multipliers; 3: their sum
    logic signed [9:0]  a_q, b_q;
    logic signed [16:0] a_high_q, b_high_q;
    logic signed [26:0] a_low_q, b_low_q;
    logic signed [17:0] high;
    logic signed [27:0] low;
    logic signed [40:0] sum_q;
    // 4: twice the quotient, so that its last bit is the first after the point; 5: rounded and moved to the
    // zero point; 6: limited
    logic signed [41:0] doubled_q;
    logic signed [41:0] moved_q;
    logic        [7:0]  limited;

    assign high = 18'(a_high_q) + 18'(b_high_q);
    assign low  = 28'(a_low_q) + 28'(b_low_q);

    always_comb begin
      limited = moved_q[7:0];
      if (moved_q < 42'(residual.clamp_min)) limited = residual.clamp_min[7:0];
      if (moved_q > 42'(residual.clamp_max)) limited = residual.clamp_max[7:0];
    end

    always_ff @(posedge clk_i) begin
      a_q            <= 10'($signed(a_i[8*i+:8])) - 10'(residual.zero_a);
      b_q            <= 10'($signed(b_i[8*i+:8])) - 10'(residual.zero_b);
      a_high_q       <= 17'(a_q) * 17'($signed({1'b0, residual.multiplier_a[23:17]}));
      a_low_q        <= 27'(a_q) * 27'($signed({1'b0, residual.multiplier_a[16:0]}));
      b_high_q       <= 17'(b_q) * 17'($signed({1'b0, residual.multiplier_b[23:17]}));
      b_low_q        <= 27'(b_q) * 27'($signed({1'b0, residual.multiplier_b[16:0]}));
      sum_q          <= (41'(high) <<< 17) + 41'(low);
      doubled_q      <= $signed({sum_q, 1'b0}) >>> residual.shift[5:0];
      moved_q        <= 42'((43'(doubled_q) + 43'($signed({residual.out_zero, 1'b1}))) >>> 1);
      data_o[8*i+:8] <= limited;
    end
  end
endmodule
`default_nettype wire
