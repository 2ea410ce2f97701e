// fe_delay - a value some cycles later.
//
// Latency  : Steps cycles, which may be 0.  Throughput: 1 value per cycle.  Reset: none.
// Does not : stall.
`default_nettype none
module fe_delay #(
  parameter int Bits  = 1,
  parameter int Steps = 1
) (
  // verilator lint_off UNUSEDSIGNAL
  input  wire             clk_i,             // a delay of 0 has no registers
  // verilator lint_on UNUSEDSIGNAL
  input  wire  [Bits-1:0] value_i,
  output logic [Bits-1:0] value_o
);
  if (Steps == 0) begin : gen_wire
    assign value_o = value_i;
  end else begin : gen_registers
    (* mem2reg *)
    logic [Bits-1:0] value_q [Steps];

    always_ff @(posedge clk_i) begin
      value_q[0] <= value_i;
      for (int i = 1; i < Steps; i++) value_q[i] <= value_q[i-1];
    end
    assign value_o = value_q[Steps-1];
  end
endmodule
`default_nettype wire
