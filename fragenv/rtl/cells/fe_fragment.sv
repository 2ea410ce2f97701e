// fe_fragment - a circuit that can be bound: an array stage, a pool stage, or both, one at a time.
//
// Control   : start_i begins the record run_i, which stays stable until done_o (one cycle).
// Memory    : two readers (x: LanesIn or LanesOut bytes; w: LanesOut bytes) and a writer; data come
//             1 cycle after valid.
// Reset     : synchronous, active low; held until the fragment is bound.
// Does not  : run two records at once.
`default_nettype none
module fe_fragment #(
  parameter int LanesIn  = 8,
  parameter int LanesOut = 8,
  parameter bit HasArray = 1'b1,
  parameter bit HasPool  = 1'b1,
  parameter int Pixels   = 256,
  parameter int RunBits  = 1216,
  parameter int XLanes   = LanesIn > LanesOut ? LanesIn : LanesOut
) (
  input  wire                   clk_i,
  input  wire                   rst_ni,
  input  wire                   start_i,
  input  wire  [RunBits-1:0]    run_i,
  output logic                  done_o,
  output logic                  x_read_valid_o,
  output logic [31:0]           x_read_address_o,
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [8*XLanes-1:0]   x_data_i,     // a lone stage may read fewer bytes
  // verilator lint_on UNUSEDSIGNAL
  output logic                  w_read_valid_o,
  output logic [31:0]           w_read_address_o,
  input  wire  [8*LanesOut-1:0] w_data_i,
  output logic                  write_valid_o,
  output logic [31:0]           write_address_o,
  output logic [15:0]           write_bytes_o,
  output logic [8*LanesOut-1:0] write_data_o
);
  logic                  is_array, a_done, a_read, a_write, p_done, p_read, p_write;
  logic [31:0]           a_read_address, a_write_address, p_read_address, p_write_address;
  logic [15:0]           a_bytes, p_bytes;
  logic [8*LanesOut-1:0] a_data, p_data;

  assign is_array         = run_i[15:0] == 16'd0;
  assign done_o           = a_done || p_done;
  assign x_read_valid_o   = a_read || p_read;
  assign x_read_address_o = a_read ? a_read_address : p_read_address;
  assign write_valid_o    = a_write || p_write;
  assign write_address_o  = a_write ? a_write_address : p_write_address;
  assign write_bytes_o    = a_write ? a_bytes : p_bytes;
  assign write_data_o     = a_write ? a_data : p_data;

  if (HasArray) begin : gen_array
    fe_array_stage #(.LanesIn(LanesIn), .LanesOut(LanesOut), .Pixels(Pixels), .RunBits(RunBits)) u_stage (
      .clk_i            (clk_i),
      .rst_ni           (rst_ni),
      .start_i          (start_i && is_array),
      .run_i            (run_i),
      .done_o           (a_done),
      .x_read_valid_o   (a_read),
      .x_read_address_o (a_read_address),
      .x_data_i         (x_data_i[8*LanesIn-1:0]),
      .w_read_valid_o   (w_read_valid_o),
      .w_read_address_o (w_read_address_o),
      .w_data_i         (w_data_i),
      .write_valid_o    (a_write),
      .write_address_o  (a_write_address),
      .write_bytes_o    (a_bytes),
      .write_data_o     (a_data)
    );
  end else begin : gen_no_array
    assign {a_done, a_read, a_read_address, a_write, a_write_address, a_bytes, a_data} = '0;
    assign {w_read_valid_o, w_read_address_o} = '0;
    // verilator lint_off UNUSEDSIGNAL
    wire unused = ^w_data_i;              // no weights without an array
    // verilator lint_on UNUSEDSIGNAL
  end

  if (HasPool) begin : gen_pool
    fe_pool_stage #(.Lanes(LanesOut), .RunBits(RunBits)) u_stage (
      .clk_i           (clk_i),
      .rst_ni          (rst_ni),
      .start_i         (start_i && !is_array),
      .run_i           (run_i),
      .done_o          (p_done),
      .read_valid_o    (p_read),
      .read_address_o  (p_read_address),
      .data_i          (x_data_i[8*LanesOut-1:0]),
      .write_valid_o   (p_write),
      .write_address_o (p_write_address),
      .write_bytes_o   (p_bytes),
      .write_data_o    (p_data)
    );
  end else begin : gen_no_pool
    assign {p_done, p_read, p_read_address, p_write, p_write_address, p_bytes, p_data} = '0;
  end
endmodule
`default_nettype wire
