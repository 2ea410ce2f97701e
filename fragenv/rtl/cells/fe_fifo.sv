// fe_fifo - a small first-in first-out memory; what is pushed can be popped from the next cycle on.
//
// Control   : push_i stores data_i; data_o is the oldest where valid_o is 1; pop_i drops it. clear_i empties.
// Latency   : 1 cycle.  Throughput: 1 push and 1 pop per cycle.  Reset: synchronous, active low: empty.
// Does not  : refuse a push when it is full: its user counts.
`default_nettype none
module fe_fifo #(
  parameter int Width = 8,
  parameter int Depth = 16              // a power of two
) (
  input  wire              clk_i,
  input  wire              rst_ni,
  input  wire              clear_i,
  input  wire              push_i,
  input  wire  [Width-1:0] data_i,
  input  wire              pop_i,
  output logic             valid_o,
  output logic [Width-1:0] data_o
);
  localparam int Bits = $clog2(Depth);

  logic [Width-1:0] mem [Depth];
  logic [Bits:0]    head_q, tail_q;

  assign valid_o = head_q != tail_q;
  assign data_o  = mem[head_q[Bits-1:0]];

  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      {head_q, tail_q} <= '0;
    end else begin
      if (push_i) tail_q <= tail_q + 1'b1;
      if (pop_i)  head_q <= head_q + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (push_i) mem[tail_q[Bits-1:0]] <= data_i;
  end
endmodule
`default_nettype wire
