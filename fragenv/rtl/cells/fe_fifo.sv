// fe_fifo - a first-in first-out memory that an entry may also pass by when it is empty.
//
// In        : push_i with data_i; it is never refused, so the user pushes no more than Depth entries that
//             have not left.
// Out       : valid_o with data_o, the oldest entry; it leaves where ready_i is 1.
// Latency   : 0 cycles when empty.  Throughput: 1 entry per cycle.
// Reset     : synchronous, active low.
// Does not  : report that it is full.
`default_nettype none
module fe_fifo #(
  parameter int Bits  = 128,
  parameter int Depth = 64               // a power of two, at least 2
) (
  input  wire             clk_i,
  input  wire             rst_ni,
  input  wire             push_i,
  input  wire  [Bits-1:0] data_i,
  output logic            valid_o,
  input  wire             ready_i,
  output logic [Bits-1:0] data_o
);
  localparam int PlaceBits = $clog2(Depth);

  (* ram_style = "distributed" *)      // block RAM belongs to tensors
  logic [Bits-1:0]      mem [Depth];
  logic [Bits-1:0]      oldest_q;         // the oldest entry is in a register, those behind it in mem
  logic [PlaceBits-1:0] head_q, tail_q;
  logic                 filled_q, more, store, drop;

  assign more    = head_q != tail_q;
  assign valid_o = filled_q || push_i;
  assign data_o  = filled_q ? oldest_q : data_i;
  assign store   = push_i && filled_q && (more || !ready_i);
  assign drop    = more && ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {head_q, tail_q, filled_q} <= '0;
    end else begin
      filled_q <= filled_q ? !ready_i || more || push_i : push_i && !ready_i;
      if (store) tail_q <= tail_q + 1'b1;
      if (drop)  head_q <= head_q + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (push_i) mem[tail_q] <= data_i;              // that place is free; it counts where the tail moves on
    if (ready_i || !filled_q) oldest_q <= more ? mem[head_q] : data_i;
  end
endmodule
`default_nettype wire
