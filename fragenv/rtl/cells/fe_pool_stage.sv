// fe_pool_stage - maximum, sum or normalisation over windows, Lanes channels side by side.
//
// Order: pixels, channel groups, window elements; one element is read per cycle. Padding reads as
// pad_value. A 1 x 1 window passes elements on: that is how additions and activations on their own run.
// LRN: the window lies along the channels, from first_x channels before; squares of element - pad_value are
// summed, and the sum becomes the requantiser's constants (fe_lrn), the middle element its sum.
// Control   : start_i begins the RUN of run_i, which stays stable until done_o; done_o is 1 for one cycle,
//             when all results have left and tail_idle_i is 1. An output is begun where room_i is 1
//             (out_start_o); out_valid_o brings it later, with its constants.
// Memory    : reader port: valid held until ready; data come in order with a valid bit.
// Cycles    : pixels x channel groups x window elements, and those of the address, memory and tail.
// Reset     : synchronous, active low.
// Does not  : leave padding out of a mean; requantise or write.
`default_nettype none
module fe_pool_stage #(
  parameter int Lanes      = 8,
  parameter bit HasLrn     = 1'b0,
  parameter int RunBits    = 960,
  parameter int SourceBits = 320
) (
  input  wire                  clk_i,
  input  wire                  rst_ni,
  input  wire                  start_i,
  input  wire [RunBits-1:0]    run_i,
  input  wire [SourceBits-1:0] source_i,
  output logic                 done_o,
  output logic                 read_valid_o,
  output logic [31:0]          read_address_o,
  input  wire                  read_ready_i,
  input  wire                  data_valid_i,
  input  wire [8*Lanes-1:0]    data_i,
  input  wire                  room_i,
  input  wire                  tail_idle_i,
  output logic                 out_start_o,
  output logic                 out_valid_o,
  output logic [32*Lanes-1:0]  sums_o,
  output logic [64*Lanes-1:0]  constants_o
);
  `include "fe_run_record.svh"
  `include "fe_source_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t    run;                    // the source decodes its fields itself
  source_record_t source;
  // verilator lint_on UNUSEDSIGNAL
  assign run    = run_i;
  assign source = source_i;
  localparam logic [15:0] Sum = 16'd2, Squares = 16'd3;

  // ---- window elements, one per cycle ----
  logic        active_q, running_q, issue, full, last_element, all_end;
  logic        first_q, last_s_q, last_r_q, last_group_q;    // of this element, found while the one before is issued
  logic [15:0] r_q, s_q, y_q, x_q, channel_q;
  logic [31:0] row_q, col_q;

  assign issue        = active_q && !full && (!first_q || room_i);
  assign out_start_o  = issue && first_q;
  assign last_element = last_s_q && last_r_q;

  always_ff @(posedge clk_i) begin
    if (issue) begin
      first_q  <= last_element;
      s_q      <= s_q + 16'd1;
      x_q      <= x_q + run.k_x_step;
      col_q    <= col_q + source.k_col_step;
      last_s_q <= 17'(s_q) + 17'd2 == 17'(run.k_cols);
      if (last_s_q) begin
        {s_q, x_q, col_q} <= '0;
        r_q      <= r_q + 16'd1;
        y_q      <= y_q + run.k_y_step;
        row_q    <= row_q + source.k_row_step;
        last_s_q <= run.k_cols == 16'd1;
        last_r_q <= 17'(r_q) + 17'd2 == 17'(run.k_rows);
      end
      if (last_element) begin
        {r_q, y_q, row_q} <= '0;
        last_r_q     <= run.k_rows == 16'd1;
        channel_q    <= last_group_q ? '0 : channel_q + 16'(Lanes);
        last_group_q <= (last_group_q ? 17'(Lanes) : 17'(channel_q) + 17'(2 * Lanes)) >= 17'(run.out_channels);
      end
    end
    if (start_i) begin
      {r_q, y_q, row_q, s_q, x_q, col_q, channel_q} <= '0;
      first_q      <= 1'b1;
      last_s_q     <= run.k_cols == 16'd1;
      last_r_q     <= run.k_rows == 16'd1;
      last_group_q <= 17'(Lanes) >= 17'(run.out_channels);
    end
  end

  // ---- what travels with an element ----
  typedef struct packed {
    logic        first, last, middle;
    logic [15:0] channel;                 // of lane 0, counted from first_x channels before channel 0
  } beat_t;
  // verilator lint_off UNUSEDSIGNAL
  beat_t               beat, data_beat;   // the channel is for LRN alone
  // verilator lint_on UNUSEDSIGNAL
  logic                last_q, fetch_idle, data_valid, is_data;
  logic [8*Lanes-1:0]  data;
  logic [32*Lanes-1:0] reduced_q;

  assign beat.first   = first_q;
  assign beat.last    = last_element;
  assign beat.middle  = s_q == run.first_x;
  assign beat.channel = channel_q + s_q;

  fe_fetch #(.Lanes(Lanes), .TagBits(19), .RunBits(RunBits), .SourceBits(SourceBits)) u_fetch (
    .clk_i          (clk_i),
    .rst_ni         (rst_ni),
    .run_i          (run_i),
    .sources_i      (source_i),
    .load_i         (start_i),
    .step_i         (issue && last_element && last_group_q),
    .leave_i        (1'b0),
    .mark_i         (1'b0),
    .part_i         (2'd0),
    .k_y_i          (y_q),
    .k_x_i          (x_q),
    .k_row_i        (row_q),
    .k_pixel_i      (col_q + 32'(channel_q)),
    .end_o          (all_end),
    .valid_i        (issue),
    .tag_i          (beat),
    .full_o         (full),
    .read_valid_o   (read_valid_o),
    .read_address_o (read_address_o),
    .read_ready_i   (read_ready_i),
    .data_valid_i   (data_valid_i),
    .data_i         (data_i),
    .valid_o        (data_valid),
    .ready_i        (1'b1),
    .is_data_o      (is_data),
    .tag_o          (data_beat),
    .data_o         (data),
    .idle_o         (fetch_idle)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {running_q, active_q, last_q} <= '0;
    end else begin
      running_q <= start_i || (running_q && !done_o);
      active_q  <= start_i || (active_q && !(issue && last_element && last_group_q && all_end));
      last_q    <= data_valid && data_beat.last;
    end
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    logic signed [31:0] element, so_far;

    assign element = 32'($signed(is_data ? data[8*i+:8] : run.pad_value[7:0]));
    assign so_far  = $signed(reduced_q[32*i+:32]);

    if (HasLrn) begin : gen_squares
      logic signed [9:0]  distance;
      logic        [19:0] square;
      logic        [15:0] channel;
      logic               counts;

      assign channel  = data_beat.channel + 16'(i);
      assign counts   = channel >= run.first_x && channel < run.first_x + run.out_channels;
      assign distance = counts ? 10'(element) - 10'(run.pad_value) : 10'sd0;
      assign square   = 20'(distance * distance);

      always_ff @(posedge clk_i) begin
        if (data_valid) begin
          if (run.op == Squares)      reduced_q[32*i+:32] <= (data_beat.first ? 32'd0 : so_far) + 32'(square);
          else if (data_beat.first)   reduced_q[32*i+:32] <= element;
          else if (run.op == Sum)     reduced_q[32*i+:32] <= so_far + element;
          else if (element > so_far)  reduced_q[32*i+:32] <= element;
        end
      end
    end else begin : gen_plain
      always_ff @(posedge clk_i) begin
        if (data_valid) begin
          if (data_beat.first)        reduced_q[32*i+:32] <= element;
          else if (run.op == Sum)     reduced_q[32*i+:32] <= so_far + element;
          else if (element > so_far)  reduced_q[32*i+:32] <= element;
        end
      end
    end
  end

  logic lrn_busy, stage_idle_q;

  if (HasLrn) begin : gen_lrn
    localparam int LrnLatency = 15;       // of fe_lrn
    logic                  normalises, lrn_valid;
    logic [8*Lanes-1:0]    middle_q;
    logic [8*Lanes-1:0]    delayed_q [LrnLatency];
    logic [LrnLatency-1:0] busy_q;
    logic [8*Lanes-1:0]    shift;
    logic [24*Lanes-1:0]   squares, multiplier;

    assign normalises = run.op == Squares;
    assign lrn_busy   = |busy_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) busy_q <= '0;
      else         busy_q <= {busy_q[LrnLatency-2:0], last_q && normalises};
      if (data_valid && data_beat.middle) middle_q <= data;
      delayed_q[0] <= middle_q;
      for (int i = 1; i < LrnLatency; i++) delayed_q[i] <= delayed_q[i-1];
    end

    fe_lrn #(.Lanes(Lanes)) u_lrn (
      .clk_i        (clk_i),
      .rst_ni       (rst_ni),
      .valid_i      (last_q && normalises),
      .sum_i        (squares),
      .offset_i     ({run.first_col[7:0], run.w_base}),
      .beta_i       (run.passes),
      .gain_i       (run.first_row),
      .valid_o      (lrn_valid),
      .shift_o      (shift),
      .multiplier_o (multiplier)
    );

    assign out_valid_o = normalises ? lrn_valid : last_q;
    for (genvar i = 0; i < Lanes; i++) begin : gen_lane
      assign squares[24*i+:24]      = reduced_q[32*i+:24];
      assign sums_o[32*i+:32] = normalises ? 32'($signed(delayed_q[LrnLatency-1][8*i+:8]))
                                           : reduced_q[32*i+:32];
      assign constants_o[64*i+:32]    = run.bias;
      assign constants_o[64*i+32+:32] = normalises ? {shift[8*i+:8], multiplier[24*i+:24]}
                                                   : {run.shift[7:0], run.multiplier[23:0]};
    end
  end else begin : gen_no_lrn
    assign lrn_busy    = 1'b0;
    assign out_valid_o = last_q;
    assign sums_o      = reduced_q;
    assign constants_o = {Lanes{run.shift[7:0], run.multiplier[23:0], run.bias}};
  end

  // the tail has the last result for several cycles more: that this stage is idle may be known a cycle late
  always_ff @(posedge clk_i) stage_idle_q <= running_q && !active_q && fetch_idle && !last_q && !lrn_busy && !done_o;
  assign done_o = stage_idle_q && tail_idle_i;
endmodule
`default_nettype wire
