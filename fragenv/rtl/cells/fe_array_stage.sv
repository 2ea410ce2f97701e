// fe_array_stage - convolutions and fully connected layers: int8 tensors in, int32 sums out.
//
// One pixel (LanesIn consecutive channels) meets LanesIn x LanesOut weights per cycle. Order: output
// groups, pixel tiles, weight blocks, pixels. While one half of the accumulators drains the other
// fills. A RUN may end inside an output group (its pixels then fit one tile): the next RUN goes on with
// the sums. In a depthwise RUN output lane i sees channel i alone, through the last row of weights.
// Control   : start_i begins the RUN of run_i, which stays stable until done_o; done_o is 1 for one cycle,
//             when all sums have left and tail_idle_i is 1. An output leaves where room_i is 1 (out_start_o);
//             out_valid_o follows AccumulatorRead cycles later with sums and constants.
// Memory    : reader ports x and w: valid held until ready; data 2 cycles after the transfer.
// Cycles    : max(pixels, LanesIn) per block; see fragenv/hardware/timing.py.
// Reset     : synchronous, active low; it forgets the sums of an unfinished group.
// Does not  : pool, requantise or write.
`default_nettype none
module fe_array_stage #(
  parameter int LanesIn      = 8,
  parameter int LanesOut     = 8,
  parameter bit HasDepthwise = 1'b1,
  parameter int Parts        = 1,
  parameter int Pixels       = 256,
  parameter int RunBits      = 960,
  parameter int SourceBits   = 320,
  parameter int XLanes       = LanesIn > LanesOut ? LanesIn : LanesOut
) (
  input  wire                    clk_i,
  input  wire                    rst_ni,
  input  wire                    start_i,
  input  wire  [RunBits-1:0]     run_i,
  input  wire  [SourceBits*Parts-1:0] sources_i,
  output logic                   done_o,
  output logic                   x_read_valid_o,
  output logic [31:0]            x_read_address_o,
  input  wire                    x_read_ready_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [8*XLanes-1:0]    x_data_i,        // a window's lanes may be more
  // verilator lint_on UNUSEDSIGNAL
  output logic                   w_read_valid_o,
  output logic [31:0]            w_read_address_o,
  input  wire                    w_read_ready_i,
  input  wire  [8*LanesOut-1:0]  w_data_i,
  input  wire                    room_i,
  input  wire                    tail_idle_i,
  output logic                   out_start_o,
  output logic                   out_valid_o,
  output logic [32*LanesOut-1:0] sums_o,
  output logic [64*LanesOut-1:0] constants_o
);
  `include "fe_run_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t run;                       // blocks, source and tail decode their fields themselves
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;
  localparam int PixelBits  = $clog2(Pixels);
  localparam int RowsAhead  = 8;
  `include "fe_latencies.svh"
  localparam int DataStage  = 2 + BufferLatency;    // beats: 0 to 2 address, then the memory
  localparam int SumStage   = DataStage + mac_latency(LanesIn);
  localparam int AddStage   = SumStage - AccumulatorLead;
  localparam int MacLanes   = HasDepthwise ? XLanes : LanesIn;
  localparam logic [15:0] Depthwise = 16'd4;

  // ---- blocks of weights ----
  typedef struct packed {
    logic        first, last, group_end, bank;
    logic [1:0]  part;
    logic [15:0] y, x;
    logic [31:0] row, pixel;
    logic [15:0] lanes;
  } block_t;
  block_t      ready, block, block_q;
  logic        depthwise, c_valid, c_bank, w_valid, w_odd, b_valid, b_idle, take, group_done, shift;

  assign depthwise = HasDepthwise && run.op == Depthwise;

  fe_blocks #(
    .LanesIn(LanesIn), .LanesOut(LanesOut), .Parts(Parts), .RowsAhead(RowsAhead),
    .RunBits(RunBits), .SourceBits(SourceBits)
  ) u_blocks (
    .clk_i          (clk_i),
    .rst_ni         (rst_ni),
    .start_i        (start_i),
    .run_i          (run_i),
    .sources_i      (sources_i),
    .depthwise_i    (depthwise),
    .read_valid_o   (w_read_valid_o),
    .read_address_o (w_read_address_o),
    .read_ready_i   (w_read_ready_i),
    .is_constant_o  (c_valid),
    .is_weight_o    (w_valid),
    .odd_o          (w_odd),
    .bank_o         (c_bank),
    .shifted_i      (shift),
    .block_valid_o  (b_valid),
    .block_taken_i  (take),
    .block_o        (ready),
    .idle_o         (b_idle),
    .group_done_i   (group_done)
  );

  // ---- weight rows wait here until the block before theirs is in use ----
  logic                  row_valid, row_odd, next_odd_q, swap;
  logic [8*LanesOut-1:0] row;

  assign shift = row_valid && row_odd == (next_odd_q ^ swap);

  fe_fifo #(.Bits(8 * LanesOut + 1), .Depth(RowsAhead)) u_rows (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (w_valid),
    .data_i  ({w_odd, w_data_i}),
    .valid_o (row_valid),
    .ready_i (row_odd == (next_odd_q ^ swap)),
    .data_o  ({row_odd, row})
  );

  // ---- pixels of a block, one per cycle ----
  logic                 busy_q, issue, half_q, all_end, tile_end, in_bounds, hold, rows_there;
  // verilator lint_off UNUSEDSIGNAL
  logic                 row_end;          // tiles do not end with rows
  // verilator lint_on UNUSEDSIGNAL
  logic [1:0]           half_busy_q, half_free;
  logic [PixelBits-1:0] pixel_q;
  logic [15:0]          since_q;          // cycles since the last block was taken

  assign hold       = x_read_valid_o && !x_read_ready_i;
  assign rows_there = since_q >= (depthwise ? 16'd1 : 16'(LanesIn));
  assign take       = b_valid && rows_there && !busy_q && !hold && !(ready.first && half_busy_q[half_q]);
  assign issue      = (busy_q && !hold) || take;
  assign block      = busy_q ? block_q : ready;
  assign tile_end   = 16'(pixel_q) + 16'd1 == run.tile_pixels || all_end;

  fe_source #(.Parts(Parts), .SourceBits(SourceBits), .RunBits(RunBits)) u_source (
    .clk_i     (clk_i),
    .run_i     (run_i),
    .sources_i (sources_i),
    .load_i    (start_i),
    .hold_i    (hold),
    .step_i    (issue),
    .leave_i   (tile_end),
    .mark_i    (tile_end && block.last),
    .part_i    (block.part),
    .k_y_i     (block.y),
    .k_x_i     (block.x),
    .k_row_i   (block.row),
    .k_pixel_i (block.pixel),
    .address_o (x_read_address_o),
    .inside_o  (in_bounds),
    .row_end_o (row_end),
    .end_o     (all_end)
  );

  // ---- what travels with a pixel ----
  typedef struct packed {
    logic                 swap, half, first, finish, group_end, bank;
    logic [PixelBits-1:0] pixel;
    logic [15:0]          lanes;
  } beat_t;
  localparam int BeatBits = 22 + PixelBits;
  logic [BeatBits-1:0] beat_q [SumStage+1];
  // verilator lint_off UNUSEDSIGNAL
  beat_t             beat, data_beat, add_beat, sum_beat;    // each place needs some of the fields
  // verilator lint_on UNUSEDSIGNAL
  logic [SumStage:0] valid_q;
  logic [1:0]        inside_q;
  logic              running_q, drain_busy;

  assign beat.swap      = take;
  assign beat.half      = half_q;
  assign beat.first     = block.first;
  assign beat.finish    = tile_end && block.last;
  assign beat.group_end = block.group_end;
  assign beat.bank      = block.bank;
  assign beat.pixel     = pixel_q;
  assign beat.lanes     = block.lanes;
  assign data_beat      = beat_q[DataStage];
  assign add_beat       = beat_q[AddStage];
  assign sum_beat       = beat_q[SumStage];
  assign swap           = valid_q[DataStage] && data_beat.swap;

  // the request is asked for while its beat stands in stage 2
  assign x_read_valid_o = valid_q[2] && in_bounds;
  assign done_o         = running_q && b_idle && !busy_q && valid_q == '0 && !drain_busy && tail_idle_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {running_q, busy_q, half_q, valid_q, next_odd_q} <= '0;
      half_busy_q <= '0;
      since_q     <= '1;
    end else begin
      running_q <= start_i || (running_q && !done_o);
      if (issue) busy_q <= !tile_end;
      if (!hold) valid_q[2:0] <= {valid_q[1:0], issue};
      valid_q[SumStage:3] <= {valid_q[SumStage-1:3], valid_q[2] && !hold};
      half_busy_q <= half_busy_q & ~half_free;
      if (take && ready.first) half_busy_q[half_q] <= 1'b1;
      if (issue && tile_end && block.last) half_q <= ~half_q;
      if (swap) next_odd_q <= ~next_odd_q;
      if (take)                    since_q <= 16'd1;
      else if (!hold && !(&since_q)) since_q <= since_q + 16'd1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (take) block_q <= ready;
    if (!hold) begin
      beat_q[0] <= beat;
      beat_q[1] <= beat_q[0];
      beat_q[2] <= beat_q[1];
    end
    for (int i = 3; i <= SumStage; i++) beat_q[i] <= beat_q[i-1];
    inside_q <= {inside_q[0], in_bounds};
    if (!rst_ni || start_i || (issue && tile_end)) pixel_q <= '0;
    else if (issue)                                pixel_q <= pixel_q + 1'b1;
  end

  // ---- multiply and accumulate ----
  logic [8*MacLanes-1:0]  x;
  logic [32*LanesOut-1:0] sums;
  logic                   sum_valid, d_half;
  logic [PixelBits-1:0]   d_pixel;

  always_comb begin
    for (int i = 0; i < MacLanes; i++) begin
      x[8*i+:8] = !depthwise && 16'(i) >= data_beat.lanes ? 8'd0
                : inside_q[1] ? x_data_i[8*i+:8] : run.pad_value[7:0];
    end
  end

  fe_mac_array #(.LanesIn(LanesIn), .LanesOut(LanesOut), .HasDepthwise(HasDepthwise)) u_array (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .w_valid_i   (shift),
    .w_i         (row),
    .swap_i      (swap),
    .x_valid_i   (valid_q[DataStage]),
    .depthwise_i (depthwise),
    .x_i         (x),
    .sum_valid_o (sum_valid),
    .sum_o       (sums)
  );

  fe_accumulator #(.Lanes(LanesOut), .Pixels(Pixels)) u_accumulator (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .add_valid_i  (valid_q[AddStage]),
    .add_half_i   (add_beat.half),
    .add_pixel_i  (add_beat.pixel),
    .add_first_i  (add_beat.first),
    .sum_i        (sums),
    .read_valid_i (out_start_o),
    .read_half_i  (d_half),
    .read_pixel_i (d_pixel),
    .data_o       (sums_o)
  );

  fe_drain #(.Lanes(LanesOut), .Pixels(Pixels)) u_drain (
    .clk_i          (clk_i),
    .rst_ni         (rst_ni),
    .finish_valid_i (sum_valid && sum_beat.finish),
    .finish_half_i  (sum_beat.half),
    .finish_bank_i  (sum_beat.bank),
    .finish_end_i   (sum_beat.group_end),
    .finish_pixel_i (sum_beat.pixel),
    .half_free_o    (half_free),
    .group_done_o   (group_done),
    .busy_o         (drain_busy),
    .c_valid_i      (c_valid),
    .c_bank_i       (c_bank),
    .c_data_i       (w_data_i),
    .room_i         (room_i),
    .read_valid_o   (out_start_o),
    .read_half_o    (d_half),
    .read_pixel_o   (d_pixel),
    .valid_o        (out_valid_o),
    .constants_o    (constants_o)
  );
endmodule
`default_nettype wire
