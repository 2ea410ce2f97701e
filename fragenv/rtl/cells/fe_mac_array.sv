// fe_mac_array - weight-stationary array of LanesIn x LanesOut int8 multipliers and adder trees.
//
// Weights    : w_valid_i shifts one row of LanesOut weights into the spare registers; the row of
//              input lane 0 comes first. swap_i makes the spare rows the current ones; a row may be
//              shifted in at the same edge.
// Activations: x_valid_i brings LanesIn activations; they meet the weights that are current
//              after this edge (swap_i may come with the first of them).
// Depthwise  : with depthwise_i, output lane o multiplies activation o by the last row's weight alone.
// Latency    : sum_valid_o and sum_o follow x_valid_i by 3 cycles.  Throughput: 1 per cycle.
// Reset      : valid bits only, synchronous, active low.  Numbers: signed int8 in, int32 sums.
// Does not   : stall.
`default_nettype none
module fe_mac_array #(
  parameter int LanesIn  = 8,
  parameter int LanesOut = 8,
  parameter bit HasDepthwise = 1'b0,
  parameter int XLanes   = LanesIn > LanesOut ? LanesIn : LanesOut
) (
  input  wire                     clk_i,
  input  wire                     rst_ni,
  input  wire                     w_valid_i,
  input  wire  [8*LanesOut-1:0]   w_i,
  input  wire                     swap_i,
  input  wire                     x_valid_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire                     depthwise_i,
  input  wire  [8*XLanes-1:0]     x_i,
  // verilator lint_on UNUSEDSIGNAL
  output logic                    sum_valid_o,
  output logic [32*LanesOut-1:0]  sum_o
);
  logic [8*LanesOut-1:0] spare_q   [LanesIn];
  logic [8*LanesOut-1:0] current_q [LanesIn];
  // verilator lint_off UNUSEDSIGNAL
  logic [8*XLanes-1:0]   x_q;
  logic                  depthwise_q;
  // verilator lint_on UNUSEDSIGNAL
  logic                  x_valid_q, product_valid_q;

  always_ff @(posedge clk_i) begin
    if (w_valid_i) begin
      for (int i = 0; i < LanesIn - 1; i++) spare_q[i] <= spare_q[i+1];
      spare_q[LanesIn-1] <= w_i;
    end
    if (swap_i) begin
      for (int i = 0; i < LanesIn; i++) current_q[i] <= spare_q[i];
    end
    if (x_valid_i) {depthwise_q, x_q} <= {depthwise_i, x_i};
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      x_valid_q       <= 1'b0;
      product_valid_q <= 1'b0;
      sum_valid_o     <= 1'b0;
    end else begin
      x_valid_q       <= x_valid_i;
      product_valid_q <= x_valid_q;
      sum_valid_o     <= product_valid_q;
    end
  end

  for (genvar o = 0; o < LanesOut; o++) begin : gen_column
    logic signed [15:0] product_q [LanesIn];
    logic signed [31:0] total;
    logic        [7:0]  last;           // what the last row multiplies

    assign last = HasDepthwise && depthwise_q ? x_q[8*o+:8] : x_q[8*(LanesIn-1)+:8];

    always_ff @(posedge clk_i) begin
      if (x_valid_q) begin
        for (int i = 0; i < LanesIn - 1; i++) begin
          product_q[i] <= HasDepthwise && depthwise_q ? 16'sd0 : $signed(x_q[8*i+:8]) * $signed(current_q[i][8*o+:8]);
        end
        product_q[LanesIn-1] <= $signed(last) * $signed(current_q[LanesIn-1][8*o+:8]);
      end
      if (product_valid_q) sum_o[32*o+:32] <= total;
    end

    always_comb begin
      total = 32'sd0;
      for (int i = 0; i < LanesIn; i++) total = total + 32'(product_q[i]);
    end
  end
endmodule
`default_nettype wire
