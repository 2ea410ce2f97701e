// fe_requantise - int32 sums to int8: y = clamp(floor((sum + bias) * multiplier / 2^shift + 1/2) + zero).
//
// Constants : 64 bits per lane, taken with valid_i: int32 bias [31:0], 24-bit unsigned multiplier [55:32],
//             shift [63:56], at most 62. Zero point and limits are stable while valid_i is 1 and until the
//             last valid_o.
// Latency   : RequantiseLatency cycles.  Throughput: 1 pixel of Lanes channels per cycle, no stalls.
// Reset     : valid bits only, synchronous, active low.
// Numbers   : two's complement; halves round towards plus infinity. sum + bias must fit in int32.
// Does not  : check for overflow of sum + bias.
`default_nettype none
module fe_requantise #(
  parameter int Lanes = 8
) (
  input  wire                       clk_i,
  input  wire                       rst_ni,
  input  wire                       valid_i,
  input  wire  [32*Lanes-1:0]       sum_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [64*Lanes-1:0]       constants_i,    // the shift's upper bits are 0
  // verilator lint_on UNUSEDSIGNAL
  input  wire  signed [15:0]        zero_i,
  input  wire  signed [15:0]        min_i,
  input  wire  signed [15:0]        max_i,
  output logic                      valid_o,
  output logic [8*Lanes-1:0]        data_o
);
  `include "fe_latencies.svh"
  logic [RequantiseLatency-1:0] valid_q;

  assign valid_o = valid_q[RequantiseLatency-1];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else         valid_q <= {valid_q[RequantiseLatency-2:0], valid_i};
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    // 1: bias
    logic signed [31:0] biased_q;
    logic        [23:0] multiplier_q;
    logic        [5:0]  shift_q, shift_q2, shift_q3;
    logic        [2:0]  shift_q4;
    // 2: products of the halves, which fit the multipliers of FPGAs; 3: their sum
    logic signed [39:0] upper_q;
    logic        [39:0] lower_q;
    logic signed [55:0] product_q;
    // 4, 5: twice the quotient, so that its last bit is the first after the point, within 19 bits: what
    // does not fit is beyond the limits whatever the zero point is. Each step of the shift drops the bits
    // that no later one needs: below the point, or above where they are but the sign.
    logic signed [56:0] doubled;
    logic signed [49:0] by_32;
    logic signed [33:0] by_16;
    logic signed [25:0] by_8_q;
    logic signed [21:0] by_4;
    logic signed [19:0] by_2;
    logic signed [18:0] by_1, doubled_q;
    logic        [7:0]  same;             // bit k: all bits that a shift by 8 k leaves above by_8_q
    logic               sign_q, fits_q, fits;
    // 6: rounded and moved to the zero point; 7: limited
    logic signed [18:0] moved_q;
    logic        [7:0]  limited;

    assign doubled = {product_q, 1'b0};
    for (genvar k = 0; k < 8; k++) begin : gen_eight
      if (25 + 8 * k < 56) begin : gen_some
        assign same[k] = doubled[56:25+8*k] == {32 - 8 * k{doubled[56]}};
      end else begin : gen_none
        assign same[k] = 1'b1;
      end
    end
    assign by_32 = shift_q3[5] ? 50'(doubled >>> 32) : doubled[49:0];
    assign by_16 = shift_q3[4] ? by_32[49:16] : by_32[33:0];
    assign by_4  = shift_q4[2] ? by_8_q[25:4] : by_8_q[21:0];
    assign by_2  = shift_q4[1] ? by_4[21:2] : by_4[19:0];
    assign by_1  = shift_q4[0] ? by_2[19:1] : by_2[18:0];
    assign fits  = fits_q && (shift_q4[2] || by_8_q[25:22] == {4{sign_q}})
                 && (shift_q4[1] || by_4[21:20] == {2{sign_q}})
                 && (shift_q4[0] || by_2[19] == sign_q) && by_1[18] == sign_q;

    always_comb begin
      limited = moved_q[7:0];
      if (moved_q < 19'(min_i)) limited = min_i[7:0];
      if (moved_q > 19'(max_i)) limited = max_i[7:0];
    end

    // a stage stands still where nothing moves into it
    always_ff @(posedge clk_i) begin
      if (valid_i) begin
        biased_q     <= $signed(sum_i[32*i+:32]) + $signed(constants_i[64*i+:32]);
        multiplier_q <= constants_i[64*i+32+:24];
        shift_q      <= constants_i[64*i+56+:6];
      end
      if (valid_q[0]) begin
        upper_q  <= 40'($signed(biased_q[31:16]) * $signed({1'b0, multiplier_q}));
        lower_q  <= 40'(biased_q[15:0]) * 40'(multiplier_q);
        shift_q2 <= shift_q;
      end
      if (valid_q[1]) begin
        product_q <= (56'(upper_q) <<< 16) + 56'($signed({1'b0, lower_q}));
        shift_q3  <= shift_q2;
      end
      if (valid_q[2]) begin
        by_8_q   <= shift_q3[3] ? by_16[33:8] : by_16[25:0];
        sign_q   <= doubled[56];
        fits_q   <= same[shift_q3[5:3]];
        shift_q4 <= shift_q3[2:0];
      end
      if (valid_q[3]) doubled_q <= fits ? by_1 : {sign_q, {18{~sign_q}}};
      if (valid_q[4]) moved_q   <= 19'((20'(doubled_q) + 20'($signed({zero_i, 1'b1}))) >>> 1);
      if (valid_q[5]) data_o[8*i+:8] <= limited;
    end
  end
endmodule
`default_nettype wire
