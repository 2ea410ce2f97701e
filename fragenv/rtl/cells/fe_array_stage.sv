// fe_array_stage - convolutions and fully connected layers: int8 tensors in, int32 sums out.
//
// One pixel (LanesIn consecutive channels) meets LanesIn x LanesOut weights per cycle. Order: output
// groups, pixel tiles, weight blocks, pixels. While one half of the accumulators drains the other
// fills. A RUN may end inside an output group (its pixels then fit one tile): the next RUN goes on with
// the sums. In a depthwise RUN output lane i sees channel i alone, through the last row of weights.
// Control   : start_i begins the RUN of run_i, which stays stable until done_o; done_o is 1 for one cycle,
//             when all sums have left and tail_idle_i is 1. An output leaves where room_i is 1 (out_start_o);
//             out_valid_o follows AccumulatorRead cycles later with sums and constants.
// Memory    : reader ports x and w: valid held until ready; data come in order with a valid bit.
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
  input  wire                    x_valid_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [8*XLanes-1:0]    x_data_i,        // a window's lanes may be more
  // verilator lint_on UNUSEDSIGNAL
  output logic                   w_read_valid_o,
  output logic [31:0]            w_read_address_o,
  input  wire                    w_read_ready_i,
  input  wire                    w_valid_i,
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
  localparam int RowsAhead  = 16;                   // more than the cycles from asking to shifting
  `include "fe_latencies.svh"
  localparam int SumStage   = mac_latency(LanesIn); // of what leaves the memory, which is in stage 0
  localparam int AddStage   = SumStage - AccumulatorLead;
  localparam int MacLanes   = HasDepthwise ? XLanes : LanesIn;

  // ---- blocks of weights ----
  typedef struct packed {
    logic        first, last, group_end, bank;
    logic [1:0]  part;
    logic [15:0] y, x;
    logic [31:0] row, pixel;
    logic [15:0] lanes;
  } block_t;
  block_t      ready, block, block_q;
  logic        depthwise, c_valid, c_bank, w_valid, w_asked, w_odd, w_real, b_valid, b_idle, take, group_done;
  logic        depthwise_q, shift;

  assign depthwise = HasDepthwise && run.op[2];     // of two operations, the one with this bit
  always_ff @(posedge clk_i) depthwise_q <= depthwise;       // for what comes later than start_i

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
    .data_valid_i   (w_valid_i),
    .is_constant_o  (c_valid),
    .is_weight_o    (w_valid),
    .bank_o         (c_bank),
    .row_valid_o    (w_asked),
    .row_odd_o      (w_odd),
    .row_real_o     (w_real),
    .shifted_i      (shift),
    .block_valid_o  (b_valid),
    .block_taken_i  (take),
    .block_o        (ready),
    .idle_o         (b_idle),
    .group_done_i   (group_done)
  );

  logic                  swap, complete;
  logic [8*LanesOut-1:0] row;
  wire  [15:0]           rows = depthwise ? 16'd1 : 16'(LanesIn);   // of a block

  fe_rows #(.Lanes(LanesOut), .Depth(RowsAhead)) u_rows (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .asked_i      (w_asked),
    .odd_i        (w_odd),
    .real_i       (w_real),
    .data_valid_i (w_valid),
    .data_i       (w_data_i),
    .load_i       (start_i),
    .rows_i       (rows),
    .swap_i       (swap),
    .shift_o      (shift),
    .row_o        (row),
    .complete_o   (complete)
  );

  // ---- pixels of a block, one per cycle ----
  logic                 busy_q, issue, half_q, half, all_end, tile_end, tile_last_q, full;
  logic                 half_there_q;     // the half in turn is free
  logic [1:0]           half_busy_q, half_busy, half_free;
  logic [PixelBits-1:0] pixel_q;

  // much hangs on take: the conditions for it are registers
  assign take       = b_valid && !busy_q && !full && (half_there_q || !ready.first);
  assign issue      = (busy_q && !full) || take;
  assign block      = busy_q ? block_q : ready;
  assign tile_end   = tile_last_q || all_end;
  assign half       = half_q ^ (issue && tile_end && block.last);
  assign half_busy  = (half_busy_q & ~half_free) | (2'(take && ready.first) << half_q);

  // ---- what travels with a pixel ----
  typedef struct packed {
    logic                 swap, half, first, finish, group_end, bank;
    logic [PixelBits-1:0] pixel;
    logic [15:0]          lanes;
  } beat_t;
  localparam int BeatBits = 22 + PixelBits;
  logic [BeatBits-1:0] data_q [SumStage+1];                 // while it is multiplied; [0] is no register
  // verilator lint_off UNUSEDSIGNAL
  beat_t               beat, data_beat, add_beat, sum_beat; // each place needs some of the fields
  // verilator lint_on UNUSEDSIGNAL
  logic [SumStage:0]   data_valid_q;
  logic                running_q, front_idle_q, drain_busy, data_valid, is_data, fetch_idle, data_ready;
  logic [8*XLanes-1:0] data;

  assign beat.swap      = take;
  assign beat.half      = half_q;
  assign beat.first     = block.first;
  assign beat.finish    = tile_end && block.last;
  assign beat.group_end = block.group_end;
  assign beat.bank      = block.bank;
  assign beat.pixel     = pixel_q;
  assign beat.lanes     = block.lanes;

  fe_fetch #(
    .Lanes(XLanes), .TagBits(BeatBits), .Parts(Parts), .RunBits(RunBits), .SourceBits(SourceBits)
  ) u_fetch (
    .clk_i          (clk_i),
    .rst_ni         (rst_ni),
    .run_i          (run_i),
    .sources_i      (sources_i),
    .load_i         (start_i),
    .step_i         (issue),
    .leave_i        (tile_end),
    .mark_i         (tile_end && block.last),
    .part_i         (block.part),
    .k_y_i          (block.y),
    .k_x_i          (block.x),
    .k_row_i        (block.row),
    .k_pixel_i      (block.pixel),
    .end_o          (all_end),
    .valid_i        (issue),
    .tag_i          (beat),
    .full_o         (full),
    .read_valid_o   (x_read_valid_o),
    .read_address_o (x_read_address_o),
    .read_ready_i   (x_read_ready_i),
    .data_valid_i   (x_valid_i),
    .data_i         (x_data_i),
    .valid_o        (data_valid),
    .ready_i        (data_ready),
    .is_data_o      (is_data),
    .tag_o          (data_beat),
    .data_o         (data),
    .idle_o         (fetch_idle)
  );

  // a block begins when all its weights are in place
  assign data_ready      = !data_beat.swap || complete;
  assign swap            = data_valid && data_beat.swap && data_ready;
  assign data_valid_q[0] = data_valid && data_ready;
  assign data_q[0]       = data_beat;
  assign add_beat        = data_q[AddStage];
  assign sum_beat        = data_q[SumStage];
  assign done_o          = running_q && front_idle_q && data_valid_q[SumStage:1] == '0 && !drain_busy && tail_idle_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {running_q, busy_q, half_q} <= '0;
      data_valid_q[SumStage:1] <= '0;
      half_busy_q  <= '0;
      half_there_q <= 1'b1;
    end else begin
      running_q <= start_i || (running_q && !done_o);
      if (issue) busy_q <= !tile_end;
      data_valid_q[SumStage:1] <= data_valid_q[SumStage-1:0];
      half_busy_q  <= half_busy;
      half_q       <= half;
      half_there_q <= !half_busy[half];
    end
  end

  always_ff @(posedge clk_i) begin
    // a cycle late: the last pixel is on its way through the multipliers for longer
    front_idle_q <= running_q && b_idle && !busy_q && fetch_idle;
    if (take) block_q <= ready;
    for (int i = 1; i <= SumStage; i++) data_q[i] <= data_q[i-1];
    if (!rst_ni || start_i || (issue && tile_end)) begin
      pixel_q     <= '0;
      tile_last_q <= run.tile_pixels == 16'd1;
    end else if (issue) begin
      pixel_q     <= pixel_q + 1'b1;
      tile_last_q <= 16'(pixel_q) + 16'd2 == run.tile_pixels;
    end
  end

  // ---- multiply and accumulate ----
  logic [8*MacLanes-1:0]  x;
  logic [32*LanesOut-1:0] sums;
  logic                   sum_valid, d_half;
  logic [PixelBits-1:0]   d_pixel;

  always_comb begin
    for (int i = 0; i < MacLanes; i++) begin
      x[8*i+:8] = !depthwise_q && 16'(i) >= data_beat.lanes ? 8'd0
                : is_data ? data[8*i+:8] : run.pad_value[7:0];
    end
  end

  fe_mac_array #(.LanesIn(LanesIn), .LanesOut(LanesOut), .HasDepthwise(HasDepthwise)) u_array (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .w_valid_i   (shift),
    .w_i         (row),
    .swap_i      (swap),
    .x_valid_i   (data_valid_q[0]),
    .depthwise_i (depthwise_q),
    .x_i         (x),
    .sum_valid_o (sum_valid),
    .sum_o       (sums)
  );

  fe_accumulator #(.Lanes(LanesOut), .Pixels(Pixels)) u_accumulator (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .add_valid_i  (data_valid_q[AddStage]),
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
