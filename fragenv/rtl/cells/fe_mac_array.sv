// fe_mac_array - weight-stationary array of LanesIn x LanesOut int8 multipliers and adder trees.
//
// Weights    : w_valid_i shifts one row of LanesOut weights into the spare registers; the row of
//              input lane 0 comes first. swap_i makes the spare rows the current ones; a row may be
//              shifted in at the same edge.
// Activations: x_valid_i brings LanesIn activations; they meet the weights that are current
//              after this edge (swap_i may come with the first of them).
// Depthwise  : where depthwise_i comes with x_valid_i, output o is activation o times the weight of
//              input lane LanesIn - 1 alone.
// Registers  : one between all inputs and the multipliers, which may lie far away, and one on either side
//              of each multiplier, without reset, so that it may be the multiplier block's own.
// Latency    : sum_valid_o and sum_o follow x_valid_i by Latency cycles.  Throughput: 1 per cycle.
// Reset      : valid bits only, synchronous, active low.  Numbers: signed int8 in, int32 sums.
// Does not   : stall.
`default_nettype none
module fe_mac_array #(
  parameter int LanesIn      = 8,
  parameter int LanesOut     = 8,
  parameter bit HasDepthwise = 1'b0,
  parameter int XLanes       = HasDepthwise && LanesOut > LanesIn ? LanesOut : LanesIn
) (
  input  wire                     clk_i,
  input  wire                     rst_ni,
  input  wire                     w_valid_i,
  input  wire  [8*LanesOut-1:0]   w_i,
  input  wire                     swap_i,
  input  wire                     x_valid_i,
  input  wire  [8*XLanes-1:0]     x_i,
  input  wire                     depthwise_i,    // 0 where HasDepthwise is 0
  output logic                    sum_valid_o,
  output logic [32*LanesOut-1:0]  sum_o
);
  `include "fe_latencies.svh"
  localparam int Latency    = mac_latency(LanesIn);
  localparam int Products   = 3;                   // cycles from x_valid_i to the products
  localparam int TreeStages = Latency - Products;
  localparam int Fan        = 1 << MacTreeLevels;  // terms that meet in a register of a tree

  logic                  w_valid_q, swap_q;
  logic [8*LanesOut-1:0] w_q;
  logic [8*LanesOut-1:0] spare_q   [LanesIn];
  logic [8*LanesOut-1:0] current_q [LanesIn];
  logic [8*LanesIn-1:0]  x_q, x_q2;                // of the last lane: see last_q
  logic [8*LanesOut-1:0] last_q, last_q2;          // what each output's last lane multiplies
  logic [Latency-1:0]    valid_q;

  assign sum_valid_o = valid_q[Latency-1];

  always_ff @(posedge clk_i) begin
    w_valid_q <= w_valid_i;
    swap_q    <= swap_i;
    w_q       <= w_i;
    if (w_valid_q) begin
      for (int i = 0; i < LanesIn - 1; i++) spare_q[i] <= spare_q[i+1];
      spare_q[LanesIn-1] <= w_q;
    end
    if (swap_q) begin
      for (int i = 0; i < LanesIn; i++) current_q[i] <= spare_q[i];
    end
    if (x_valid_i) begin
      x_q <= HasDepthwise && depthwise_i ? '0 : x_i[8*LanesIn-1:0];
      for (int o = 0; o < LanesOut; o++) begin
        last_q[8*o+:8] <= HasDepthwise && depthwise_i ? x_i[8*o+:8] : x_i[8*LanesIn-8+:8];
      end
    end
    if (valid_q[0]) {x_q2, last_q2} <= {x_q, last_q};
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else         valid_q <= Latency'({valid_q, x_valid_i});
  end

  for (genvar o = 0; o < LanesOut; o++) begin : gen_column
    // products, then the sums of Fan of them each, and so on
    (* mem2reg *)
    logic signed [31:0] node_q [first_node(TreeStages) + 1];

    always_ff @(posedge clk_i) begin
      if (valid_q[Products-2]) begin
        for (int i = 0; i < LanesIn - 1; i++) begin
          node_q[i] <= 32'($signed(x_q2[8*i+:8]) * $signed(current_q[i][8*o+:8]));
        end
        node_q[LanesIn-1] <= 32'($signed(last_q2[8*o+:8]) * $signed(current_q[LanesIn-1][8*o+:8]));
      end
    end

    for (genvar s = 0; s < TreeStages; s++) begin : gen_stage
      localparam int Terms = first_node(s + 1) - first_node(s);
      localparam int Bits  = 16 + s * MacTreeLevels;    // of a term; the rest is its sign

      for (genvar n = 0; n < first_node(s + 2) - first_node(s + 1); n++) begin : gen_node
        logic signed [Bits+MacTreeLevels-1:0] total;

        always_comb begin
          total = '0;
          for (int k = Fan * n; k < Fan * (n + 1) && k < Terms; k++) begin
            total = total + (Bits + MacTreeLevels)'($signed(node_q[first_node(s)+k][Bits-1:0]));
          end
        end

        always_ff @(posedge clk_i) begin
          if (valid_q[s+Products-1]) node_q[first_node(s+1)+n] <= 32'(total);
        end
      end
    end
    assign sum_o[32*o+:32] = node_q[first_node(TreeStages)];
  end

  // where the nodes of a stage of the tree begin
  function automatic int first_node(input int stage);
    int terms;
    terms      = LanesIn;
    first_node = 0;
    for (int s = 0; s < stage; s++) begin
      first_node = first_node + terms;
      terms      = (terms + Fan - 1) / Fan;
    end
  endfunction
endmodule
`default_nettype wire
