// fe_requantise - int32 sums to int8: y = clamp(floor((sum + bias) * multiplier / 2^shift + 1/2) + zero).
//
// Constants: 64 bits per lane: int32 bias [31:0], 24-bit unsigned multiplier [55:32], shift [63:56],
//            at most 62; they come with their sum. The limits are stable while valid_i is 1 and 4 cycles after.
// Latency  : 4 cycles.  Throughput: 1 pixel of Lanes channels per cycle, no stalls.
// Reset    : valid bits only, synchronous, active low.
// Numbers  : two's complement; halves round towards plus infinity. sum + bias must fit in int32.
// Does not : check for overflow of sum + bias.
`default_nettype none
module fe_requantise #(
  parameter int Lanes = 8
) (
  input  wire                       clk_i,
  input  wire                       rst_ni,
  input  wire                       valid_i,
  input  wire  [32*Lanes-1:0]       sum_i,
  input  wire  [64*Lanes-1:0]       constants_i,
  input  wire  signed [15:0]        zero_i,
  input  wire  signed [15:0]        min_i,
  input  wire  signed [15:0]        max_i,
  output logic                      valid_o,
  output logic [8*Lanes-1:0]        data_o
);
  logic [2:0] valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) {valid_o, valid_q} <= '0;
    else         {valid_o, valid_q} <= {valid_q, valid_i};
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    logic signed [31:0] biased_q;
    logic signed [56:0] product_q;
    logic signed [63:0] half, shifted_q, moved;
    logic        [23:0] multiplier_q;
    logic        [7:0]  shift_q, shift, limited;

    assign half  = shift == 8'd0 ? 64'sd0 : 64'sd1 <<< (shift - 8'd1);
    assign moved = shifted_q + 64'(zero_i);

    always_comb begin
      limited = moved[7:0];
      if (moved < 64'(min_i)) limited = min_i[7:0];
      if (moved > 64'(max_i)) limited = max_i[7:0];
    end

    always_ff @(posedge clk_i) begin
      biased_q  <= $signed(sum_i[32*i+:32]) + $signed(constants_i[64*i+:32]);
      multiplier_q <= constants_i[64*i+32+:24];
      shift_q   <= constants_i[64*i+56+:8];
      shift     <= shift_q;
      product_q <= 57'(biased_q) * 57'($signed({1'b0, multiplier_q}));
      shifted_q <= (64'(product_q) + half) >>> shift;
      data_o[8*i+:8] <= limited;
    end
  end
endmodule
`default_nettype wire
