// fe_tail - what follows every stage: requantisation, addition of a residual, writing to the buffer.
//
// Control   : load_i starts a RUN. room_o: one more output may be started; reserve_i says that one was.
//             Each started output arrives at valid_i with its sums and constants (see fe_requantise), any
//             number of cycles later, in the order of fe_places. idle_o: all outputs are in the buffer.
// Memory    : reader port r (where HasResidual), writer port: valid held until ready.
// Throughput: Lanes outputs per cycle.  Reset: synchronous, active low.
// Does not  : stall what is under way: room_o is a promise.
`default_nettype none
module fe_tail #(
  parameter int Lanes        = 8,
  parameter bit HasResidual  = 1'b1,
  parameter int RunBits      = 960,
  parameter int SourceBits   = 320,
  parameter int ResidualBits = 384
) (
  input  wire                    clk_i,
  input  wire                    rst_ni,
  input  wire [RunBits-1:0]      run_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire [ResidualBits-1:0] residual_i,
  // verilator lint_on UNUSEDSIGNAL
  input  wire                    pixels_first_i,
  input  wire                    load_i,
  output logic                   room_o,
  input  wire                    reserve_i,
  input  wire                    valid_i,
  input  wire [32*Lanes-1:0]     sums_i,
  input  wire [64*Lanes-1:0]     constants_i,
  output logic                   idle_o,
  output logic                   r_read_valid_o,
  output logic [31:0]            r_read_address_o,
  // verilator lint_off UNUSEDSIGNAL
  input  wire                    r_read_ready_i,
  input  wire                    r_valid_i,
  input  wire [8*Lanes-1:0]      r_data_i,
  // verilator lint_on UNUSEDSIGNAL
  output logic                   write_valid_o,
  input  wire                    write_ready_i,
  input  wire                    write_idle_i,     // no write waits in the buffer
  output logic [31:0]            write_address_o,
  output logic [15:0]            write_bytes_o,
  output logic [8*Lanes-1:0]     write_data_o
);
  `include "fe_run_record.svh"
  `include "fe_source_record.svh"
  localparam int Depth = 32;              // outputs under way; more than the cycles from start to write
  localparam int Bits  = $clog2(Depth) + 1;

  // verilator lint_off UNUSEDSIGNAL
  run_record_t run;
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;

  logic [Bits-1:0]    started_q;
  logic               written, all_placed, rq_valid, out_valid, residual_room, place_valid, out_ready;
  logic [8*Lanes-1:0] rq_data, out_data;
  source_record_t     place;

  assign room_o  = !started_q[Bits-1] && residual_room;      // Depth alone has that bit
  assign written = write_valid_o && write_ready_i;
  assign idle_o  = all_placed && write_idle_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) started_q <= '0;
    else         started_q <= started_q + Bits'(reserve_i) - Bits'(written);
  end

  fe_requantise #(.Lanes(Lanes)) u_requantise (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .valid_i     (valid_i),
    .sum_i       (sums_i),
    .constants_i (constants_i),
    .zero_i      (run.out_zero),
    .min_i       (run.clamp_min),
    .max_i       (run.clamp_max),
    .valid_o     (rq_valid),
    .data_o      (rq_data)
  );

  if (HasResidual) begin : gen_residual
    logic               on, room, add_valid;
    logic [8*Lanes-1:0] other, add_data;

    assign on            = residual_i[0];
    assign residual_room = !on || room;
    assign out_valid     = on ? add_valid : rq_valid;
    assign out_data      = on ? add_data : rq_data;

    fe_residual #(
      .Lanes(Lanes), .RunBits(RunBits), .SourceBits(SourceBits), .ResidualBits(ResidualBits)
    ) u_residual (
      .clk_i          (clk_i),
      .rst_ni         (rst_ni),
      .run_i          (run_i),
      .residual_i     (residual_i),
      .pixels_first_i (pixels_first_i),
      .load_i         (load_i),
      .room_o         (room),
      .reserve_i      (reserve_i && on),
      .pop_i          (rq_valid && on),
      .data_o         (other),
      .read_valid_o   (r_read_valid_o),
      .read_address_o (r_read_address_o),
      .read_ready_i   (r_read_ready_i),
      .data_valid_i   (r_valid_i),
      .data_i         (r_data_i)
    );
    fe_add #(.Lanes(Lanes), .ResidualBits(ResidualBits)) u_add (
      .clk_i      (clk_i),
      .rst_ni     (rst_ni),
      .residual_i (residual_i),
      .valid_i    (rq_valid && on),
      .a_i        (rq_data),
      .b_i        (other),
      .valid_o    (add_valid),
      .data_o     (add_data)
    );
  end else begin : gen_no_residual
    assign residual_room = 1'b1;
    assign out_valid     = rq_valid;
    assign out_data      = rq_data;
    assign {r_read_valid_o, r_read_address_o} = '0;
  end

  fe_fifo #(.Bits(8 * Lanes), .Depth(Depth)) u_fifo (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (out_valid),
    .data_i  (out_data),
    .valid_o (out_ready),
    .ready_i (place_valid && write_ready_i),
    .data_o  (write_data_o)
  );

  always_comb begin
    place            = '0;
    place.base       = run.dst_base;
    place.ring       = run.dst_ring;
    place.row0       = run.dst_row0;
    place.row_step   = run.dst_row_step;
    place.col_step   = run.dst_col_step;
    place.frame_step = run.dst_frame_step;
  end

  assign write_valid_o = out_ready && place_valid;

  fe_places #(.Lanes(Lanes), .RunBits(RunBits), .SourceBits(SourceBits)) u_places (
    .clk_i          (clk_i),
    .rst_ni         (rst_ni),
    .run_i          (run_i),
    .place_i        (place),
    .pixels_first_i (pixels_first_i),
    .load_i         (load_i),
    .take_i         (written),
    .valid_o        (place_valid),
    .address_o      (write_address_o),
    .bytes_o        (write_bytes_o),
    .idle_o         (all_placed)
  );
endmodule
`default_nettype wire
