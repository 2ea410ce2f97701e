// fe_fragment - a circuit that can be bound: an array stage, a pool stage, or both, one at a time, and
// the tail that they share.
//
// Control   : start_i begins the record record_i (run, sources, residual), which stays stable until done_o
//             (one cycle).
// Memory    : reader ports x (LanesIn bytes for sums over channels, else LanesOut), w and r (LanesOut
//             bytes), a writer port: valid held until ready; data come in order with a valid bit.
// Reset     : synchronous, active low; held until the fragment is bound.
// Does not  : run two records at once.
`default_nettype none
module fe_fragment #(
  parameter int LanesIn      = 8,
  parameter int LanesOut     = 8,
  parameter bit HasArray     = 1'b1,
  parameter bit HasDepthwise = 1'b1,
  parameter bit HasPool      = 1'b1,
  parameter bit HasLrn       = 1'b0,
  parameter bit HasResidual  = 1'b1,
  parameter int Parts        = 1,       // tensors that may lie side by side along the input channels
  parameter int Pixels       = 256,
  parameter int RunBits      = 960,
  parameter int SourceBits   = 320,
  parameter int ResidualBits = 384,
  parameter int RecordBits   = RunBits + SourceBits * Parts + ResidualBits,
  parameter int XLanes       = LanesIn > LanesOut ? LanesIn : LanesOut
) (
  input  wire                   clk_i,
  input  wire                   rst_ni,
  input  wire                   start_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [RecordBits-1:0] record_i,     // a circuit without a stage leaves its fields unused
  // verilator lint_on UNUSEDSIGNAL
  output logic                  done_o,
  output logic                  x_read_valid_o,
  output logic [31:0]           x_read_address_o,
  output logic [15:0]           x_read_bytes_o,
  input  wire                   x_read_ready_i,
  input  wire                   x_valid_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [8*XLanes-1:0]   x_data_i,     // a lone stage may read fewer bytes
  // verilator lint_on UNUSEDSIGNAL
  output logic                  w_read_valid_o,
  output logic [31:0]           w_read_address_o,
  // verilator lint_off UNUSEDSIGNAL
  input  wire                   w_read_ready_i,
  input  wire                   w_valid_i,
  input  wire  [8*LanesOut-1:0] w_data_i,     // no weights without an array
  // verilator lint_on UNUSEDSIGNAL
  output logic                  r_read_valid_o,
  output logic [31:0]           r_read_address_o,
  input  wire                   r_read_ready_i,
  input  wire                   r_valid_i,
  input  wire  [8*LanesOut-1:0] r_data_i,
  output logic                  write_valid_o,
  input  wire                   write_ready_i,
  input  wire                   write_idle_i,
  output logic [31:0]           write_address_o,
  output logic [15:0]           write_bytes_o,
  output logic [8*LanesOut-1:0] write_data_o
);
  logic [RunBits-1:0]          run;
  logic [SourceBits*Parts-1:0] sources;
  logic [ResidualBits-1:0]     residual;
  logic                        is_array, is_array_q, room, tail_idle, start, valid;
  logic                        a_done, a_read, a_start, a_valid, p_done, p_read, p_start, p_valid;
  logic [31:0]                 a_address, p_address;
  logic [32*LanesOut-1:0]      a_sums, p_sums, sums;
  logic [64*LanesOut-1:0]      a_constants, p_constants, constants;

  assign run      = record_i[RunBits-1:0];
  assign sources  = record_i[RunBits+:SourceBits*Parts];
  // of the operations 0 to 4, multiply-accumulate is 0 and depthwise 4: two bits tell, since much hangs on them
  assign is_array = HasArray && run[1:0] == 2'd0;
  assign done_o   = a_done || p_done;

  if (HasResidual) begin : gen_residual
    assign residual = record_i[RunBits+SourceBits*Parts+:ResidualBits];
  end else begin : gen_no_residual
    assign residual = '0;
  end

  // nothing is read or put out in the cycle of start_i: from then on the stage in turn is in registers
  always_ff @(posedge clk_i) begin
    is_array_q     <= is_array;
    x_read_bytes_o <= is_array && !run[2] ? 16'(LanesIn) : 16'(LanesOut);
  end

  assign x_read_valid_o   = is_array_q ? a_read : p_read;
  assign x_read_address_o = is_array_q ? a_address : p_address;
  assign start            = is_array_q ? a_start : p_start;
  assign valid            = is_array_q ? a_valid : p_valid;
  assign sums             = is_array_q ? a_sums : p_sums;
  assign constants        = is_array_q ? a_constants : p_constants;

  if (HasArray) begin : gen_array
    fe_array_stage #(
      .LanesIn(LanesIn), .LanesOut(LanesOut), .HasDepthwise(HasDepthwise), .Parts(Parts),
      .Pixels(Pixels), .RunBits(RunBits), .SourceBits(SourceBits)
    ) u_stage (
      .clk_i            (clk_i),
      .rst_ni           (rst_ni),
      .start_i          (start_i && is_array),
      .run_i            (run),
      .sources_i        (sources),
      .done_o           (a_done),
      .x_read_valid_o   (a_read),
      .x_read_address_o (a_address),
      .x_read_ready_i   (x_read_ready_i),
      .x_valid_i        (x_valid_i && is_array_q),
      .x_data_i         (x_data_i),
      .w_read_valid_o   (w_read_valid_o),
      .w_read_address_o (w_read_address_o),
      .w_read_ready_i   (w_read_ready_i),
      .w_valid_i        (w_valid_i),
      .w_data_i         (w_data_i),
      .room_i           (room),
      .tail_idle_i      (tail_idle),
      .out_start_o      (a_start),
      .out_valid_o      (a_valid),
      .sums_o           (a_sums),
      .constants_o      (a_constants)
    );
  end else begin : gen_no_array
    assign {a_done, a_read, a_address, a_start, a_valid, a_sums, a_constants} = '0;
    assign {w_read_valid_o, w_read_address_o} = '0;
  end

  if (HasPool) begin : gen_pool
    fe_pool_stage #(.Lanes(LanesOut), .HasLrn(HasLrn), .RunBits(RunBits), .SourceBits(SourceBits)) u_stage (
      .clk_i          (clk_i),
      .rst_ni         (rst_ni),
      .start_i        (start_i && !is_array),
      .run_i          (run),
      .source_i       (sources[SourceBits-1:0]),
      .done_o         (p_done),
      .read_valid_o   (p_read),
      .read_address_o (p_address),
      .read_ready_i   (x_read_ready_i),
      .data_valid_i   (x_valid_i && !is_array_q),
      .data_i         (x_data_i[8*LanesOut-1:0]),
      .room_i         (room),
      .tail_idle_i    (tail_idle),
      .out_start_o    (p_start),
      .out_valid_o    (p_valid),
      .sums_o         (p_sums),
      .constants_o    (p_constants)
    );
  end else begin : gen_no_pool
    assign {p_done, p_read, p_address, p_start, p_valid, p_sums, p_constants} = '0;
  end

  fe_tail #(
    .Lanes(LanesOut), .HasResidual(HasResidual), .RunBits(RunBits), .SourceBits(SourceBits),
    .ResidualBits(ResidualBits)
  ) u_tail (
    .clk_i            (clk_i),
    .rst_ni           (rst_ni),
    .run_i            (run),
    .residual_i       (residual),
    .pixels_first_i   (is_array),
    .load_i           (start_i),
    .room_o           (room),
    .reserve_i        (start),
    .valid_i          (valid),
    .sums_i           (sums),
    .constants_i      (constants),
    .idle_o           (tail_idle),
    .r_read_valid_o   (r_read_valid_o),
    .r_read_address_o (r_read_address_o),
    .r_read_ready_i   (r_read_ready_i),
    .r_valid_i        (r_valid_i),
    .r_data_i         (r_data_i),
    .write_valid_o    (write_valid_o),
    .write_ready_i    (write_ready_i),
    .write_idle_i     (write_idle_i),
    .write_address_o  (write_address_o),
    .write_bytes_o    (write_bytes_o),
    .write_data_o     (write_data_o)
  );
endmodule
`default_nettype wire
