// fe_bank - one bank of the tensor buffer: a simple dual-port RAM with byte enables.
//
// Its rows lie in sections whose depths are powers of two, which block RAM holds without waste.
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
  localparam int Sections = $clog2(Rows + 1);      // section s has 2^s rows where Rows has bit s

  logic [Sections-1:0]            reads_q;         // the section that is read
  logic [8*RowBytes*Sections-1:0] rows;

  always_comb begin
    read_data_o = '0;
    for (int s = 0; s < Sections; s++) begin
      if (reads_q[s]) read_data_o = read_data_o | rows[8*RowBytes*s+:8*RowBytes];
    end
  end

  for (genvar s = 0; s < Sections; s++) begin : gen_section
    if ((Rows >> s) % 2 == 1) begin : gen_rows
      localparam int Place = (Rows >> s) - 1;      // the rows before it, in sections of its size
      logic         reads, writes;
      logic [s-1:0] read_row, write_row;

      (* no_rw_check *)
      logic [8*RowBytes-1:0] mem [1 << s];

      assign reads     = 32'(read_index_i >> s) == 32'(Place);
      assign writes    = write_valid_i && 32'(write_index_i >> s) == 32'(Place);
      assign read_row  = read_index_i[s-1:0];
      assign write_row = write_index_i[s-1:0];

      always_ff @(posedge clk_i) begin
        if (read_valid_i) reads_q[s] <= reads;
        if (read_valid_i && reads) rows[8*RowBytes*s+:8*RowBytes] <= mem[read_row];
        if (writes) begin
          // verilator unroll_disable
          for (int i = 0; i < RowBytes; i++) begin
            if (write_enable_i[i]) mem[write_row][8*i+:8] <= write_data_i[8*i+:8];
          end
        end
      end
    end else begin : gen_none
      assign reads_q[s] = 1'b0;
      assign rows[8*RowBytes*s+:8*RowBytes] = '0;
    end
  end
endmodule
`default_nettype wire
