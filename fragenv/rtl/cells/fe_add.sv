// fe_add - adds two int8 tensors of different scales: y = clamp(floor((da*ma + db*mb)/2^shift + 1/2) + zero),
// da = a - zero_a, db = b - zero_b.
//
// Constants : of residual_i, stable while valid_i is 1 and 5 cycles after; shift at most 40.
// Latency   : 5 cycles.  Throughput: Lanes elements per cycle, no stalls.
// Reset     : valid bits only, synchronous, active low.
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

  logic        [3:0]  valid_q;
  logic signed [40:0] half_q;             // up to 2^39

  always_ff @(posedge clk_i) begin
    if (!rst_ni) {valid_o, valid_q} <= '0;
    else         {valid_o, valid_q} <= {valid_q, valid_i};
    half_q <= residual.shift == '0 ? 41'sd0 : 41'sd1 <<< (residual.shift[5:0] - 6'd1);
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    logic signed [9:0]  a_q, b_q;
    logic signed [35:0] a_product_q, b_product_q;
    logic signed [40:0] sum_q, shifted_q;
    logic signed [40:0] moved;
    logic        [7:0]  limited;

    assign moved = shifted_q + 41'(residual.out_zero);

    always_comb begin
      limited = moved[7:0];
      if (moved < 41'(residual.clamp_min)) limited = residual.clamp_min[7:0];
      if (moved > 41'(residual.clamp_max)) limited = residual.clamp_max[7:0];
    end

    always_ff @(posedge clk_i) begin
      a_q            <= 10'($signed(a_i[8*i+:8])) - 10'(residual.zero_a);
      b_q            <= 10'($signed(b_i[8*i+:8])) - 10'(residual.zero_b);
      a_product_q    <= 36'(a_q) * 36'($signed({1'b0, residual.multiplier_a[23:0]}));
      b_product_q    <= 36'(b_q) * 36'($signed({1'b0, residual.multiplier_b[23:0]}));
      sum_q          <= 41'(a_product_q) + 41'(b_product_q) + half_q;
      shifted_q      <= sum_q >>> residual.shift[5:0];
      data_o[8*i+:8] <= limited;
    end
  end
endmodule
`default_nettype wire
