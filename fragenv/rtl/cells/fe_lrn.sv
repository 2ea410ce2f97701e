// fe_lrn - local response normalisation: from sums of squares to the requantiser's constants, per lane.
//
// Function  : u = offset + sum;  E = gain - ((beta * log2(u)) >> 16) with 20 binary digits;  2^E is
//             multiplier / 2^shift, 2^23 <= multiplier < 2^24. Logarithm and power are interpolated
//             linearly between the points of fe_lrn_tables.svh; every step rounds down.
// Constants : offset_i, at least 1; beta_i with 16 binary digits, below 2^BetaBits; gain_i with 20 binary
//             digits, such that 2^E < 2^24. They are stable while valid_i is 1 and 10 cycles after.
// Results   : shift_o 0 to 62 (62 for factors below 2^-39 too), multiplier_o.
// Latency   : 15 cycles.  Throughput: 1 vector of Lanes sums per cycle, no stalls.
// Multipliers: per lane 13 x 12, twice BetaBits x 13, and 16 x 12 bits.
// Reset     : valid bits only, synchronous, active low.
// Does not  : square, sum, or multiply the inputs by the factor.
`default_nettype none
module fe_lrn #(
  parameter int Lanes    = 8,
  parameter int BetaBits = 18          // beta below 4
) (
  input  wire                 clk_i,
  input  wire                 rst_ni,
  input  wire                 valid_i,
  input  wire  [24*Lanes-1:0] sum_i,
  input  wire  [39:0]         offset_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [31:0]         beta_i,  // bits from BetaBits on are 0
  // verilator lint_on UNUSEDSIGNAL
  input  wire  signed [31:0]  gain_i,
  output logic                valid_o,
  output logic [8*Lanes-1:0]  shift_o,
  output logic [24*Lanes-1:0] multiplier_o
);
  localparam int Latency    = 15;
  localparam int ScaledBits = BetaBits + 26 - 16;                        // of beta * log2(u)
  localparam int PowerBits  = ScaledBits < 32 ? 33 : ScaledBits + 2;     // of E

  `include "fe_lrn_tables.svh"

  logic [Latency-1:0] valid_q;         // bit s - 1: stage s holds a vector

  assign valid_o = valid_q[Latency-1];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else         valid_q <= {valid_q[Latency-2:0], valid_i};
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    // stages 1 to 4: u = 2^whole * (1 + fraction), by moving the leading 1 of u to bit 40
    // verilator lint_off UNUSEDSIGNAL
    logic [40:0] near1;                // the leading 1 and what the fraction has no place for
    // verilator lint_on UNUSEDSIGNAL
    logic [40:0] u_q, near16, near16_q, near4, near4_q;
    logic [1:0]  zeros16, zeros16_q, zeros4, zeros1;
    logic [3:0]  zeros4_q;
    logic [5:0]  whole_q;
    logic [19:0] fraction_q;

    always_comb begin
      zeros16[1] = u_q[40:9] == '0;
      near16     = zeros16[1] ? u_q << 32 : u_q;
      zeros16[0] = near16[40:25] == '0;
      if (zeros16[0]) near16 = near16 << 16;
      zeros4[1]  = near16_q[40:33] == '0;
      near4      = zeros4[1] ? near16_q << 8 : near16_q;
      zeros4[0]  = near4[40:37] == '0;
      if (zeros4[0]) near4 = near4 << 4;
      zeros1[1]  = near4_q[40:39] == '0;
      near1      = zeros1[1] ? near4_q << 2 : near4_q;
      zeros1[0]  = !near1[40];
      if (zeros1[0]) near1 = near1 << 1;
    end

    always_ff @(posedge clk_i) begin
      if (valid_i) u_q <= 41'(offset_i) + 41'(sum_i[24*i+:24]);
      if (valid_q[0]) begin
        zeros16_q <= zeros16;
        near16_q  <= near16;
      end
      if (valid_q[1]) begin
        zeros4_q <= {zeros16_q, zeros4};
        near4_q  <= near4;
      end
      if (valid_q[2]) begin
        whole_q    <= 6'd40 - {zeros4_q, zeros1};
        fraction_q <= near1[39:20];
      end
    end

    // stages 5 to 8: log2(u); a block RAM is slow and gets a cycle of its own
    logic [32:0] log_rom_q, log_word_q;
    logic [11:0] log_rest5_q, log_rest6_q;
    logic [5:0]  whole5_q, whole6_q, whole7_q;
    logic [19:0] log_point_q;
    // verilator lint_off UNUSEDSIGNAL
    logic [24:0] log_product_q;        // rounded down
    // verilator lint_on UNUSEDSIGNAL
    logic [25:0] log_q;

    always_ff @(posedge clk_i) begin
      if (valid_q[3]) begin
        log_rom_q   <= log_word(fraction_q[19:12]);
        log_rest5_q <= fraction_q[11:0];
        whole5_q    <= whole_q;
      end
      if (valid_q[4]) begin
        log_word_q  <= log_rom_q;
        log_rest6_q <= log_rest5_q;
        whole6_q    <= whole5_q;
      end
      if (valid_q[5]) begin
        log_product_q <= 25'(log_word_q[32:20]) * 25'(log_rest6_q);
        log_point_q   <= log_word_q[19:0];
        whole7_q      <= whole6_q;
      end
      if (valid_q[6]) log_q <= {whole7_q, log_point_q + 20'(log_product_q[24:12])};
    end

    // stages 9 to 11: E
    logic [BetaBits+12:0]        low_q, high_q;
    // verilator lint_off UNUSEDSIGNAL
    logic [BetaBits+25:0]        scaled_q;     // rounded down
    // verilator lint_on UNUSEDSIGNAL
    logic signed [PowerBits-1:0] power_q;

    always_ff @(posedge clk_i) begin
      if (valid_q[7]) begin
        low_q  <= (BetaBits + 13)'(beta_i[BetaBits-1:0]) * (BetaBits + 13)'(log_q[12:0]);
        high_q <= (BetaBits + 13)'(beta_i[BetaBits-1:0]) * (BetaBits + 13)'(log_q[25:13]);
      end
      if (valid_q[8]) scaled_q <= (BetaBits + 26)'(low_q) + {high_q, 13'd0};
      if (valid_q[9]) begin
        power_q <= PowerBits'(gain_i) - $signed(PowerBits'(scaled_q[BetaBits+25:16]));
      end
    end

    // stages 12 to 15: 2^E
    logic signed [PowerBits-21:0] exponent;
    logic [7:0]                   shift12_q, shift13_q, shift14_q;
    logic [38:0]                  exp_rom_q, exp_word_q;
    logic [11:0]                  exp_rest12_q, exp_rest13_q;
    logic [22:0]                  exp_point_q;
    // verilator lint_off UNUSEDSIGNAL
    logic [27:0]                  exp_product_q;    // rounded down
    // verilator lint_on UNUSEDSIGNAL

    assign exponent = power_q[PowerBits-1:20];

    always_ff @(posedge clk_i) begin
      if (valid_q[10]) begin
        shift12_q    <= exponent < -39 ? 8'd62 : 8'd23 - exponent[7:0];
        exp_rom_q    <= exp_word(power_q[19:12]);
        exp_rest12_q <= power_q[11:0];
      end
      if (valid_q[11]) begin
        shift13_q    <= shift12_q;
        exp_word_q   <= exp_rom_q;
        exp_rest13_q <= exp_rest12_q;
      end
      if (valid_q[12]) begin
        shift14_q     <= shift13_q;
        exp_product_q <= 28'(exp_word_q[38:23]) * 28'(exp_rest13_q);
        exp_point_q   <= exp_word_q[22:0];
      end
      if (valid_q[13]) begin
        shift_o[8*i+:8]        <= shift14_q;
        multiplier_o[24*i+:24] <= {1'b1, exp_point_q + 23'(exp_product_q[27:12])};
      end
    end
  end
endmodule
`default_nettype wire
