// fe_bank - one bank of the tensor buffer: a simple dual-port RAM with byte enables.
//
// Reading : read_valid_i with the row; read_data_o holds it from the next cycle on.
// Writing : write_valid_i with the row, its bytes and one enable per byte.
// Latency : 1 cycle.  Throughput: 1 read and 1 write per cycle.  Reset: none; contents are undefined.
// Does not: define what a read returns of a row that is written in the same cycle.
`default_nettype none
module fe_bank #(
  parameter int RowBytes  = 16,
  parameter int Rows      = 512,
  parameter int IndexBits = 9
) (
  input  wire                   clk_i,
  input  wire                   read_valid_i,
  input  wire  [IndexBits-1:0]  read_index_i,
  output logic [8*RowBytes-1:0] read_data_o,
  input  wire                   write_valid_i,
  input  wire  [IndexBits-1:0]  write_index_i,
  input  wire  [RowBytes-1:0]   write_enable_i,
  input  wire  [8*RowBytes-1:0] write_data_i
);
  localparam int Bits = $clog2(Rows);    // a bank may be smaller than the largest one

  // verilator lint_off UNUSEDSIGNAL
  wire unused = ^{read_index_i, write_index_i};
  // verilator lint_on UNUSEDSIGNAL

  (* no_rw_check *)
  logic [8*RowBytes-1:0] mem [Rows];

  always_ff @(posedge clk_i) begin
    if (read_valid_i) read_data_o <= mem[read_index_i[Bits-1:0]];
    if (write_valid_i) begin
      // verilator unroll_disable
      for (int i = 0; i < RowBytes; i++) begin
        if (write_enable_i[i]) mem[write_index_i[Bits-1:0]][8*i+:8] <= write_data_i[8*i+:8];
      end
    end
  end
endmodule
`default_nettype wire
