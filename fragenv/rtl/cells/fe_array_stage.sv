// fe_array_stage - convolutions and fully connected layers: int8 tensors in, int8 tensors out.
//
// One pixel (LanesIn consecutive channels) meets LanesIn x LanesOut weights per cycle. Order: output
// groups, pixel tiles, weight blocks, pixels. While one half of the accumulators drains through the
// requantiser the other fills. A RUN may end in_bounds an output group (its pixels then fit one tile):
// the next RUN goes on with the sums.
// Control   : start_i begins the RUN of run_i, which stays stable until done_o; done_o is 1 for one cycle.
// Memory    : data come 1 cycle after x_/w_read_valid_o.
// Cycles    : max(pixels, LanesIn) per block; see fragenv/hardware/timing.py.
// Reset     : synchronous, active low; it forgets the sums of an unfinished group.
// Does not  : stall for memory; pool.
`default_nettype none
module fe_array_stage #(
  parameter int LanesIn  = 8,
  parameter int LanesOut = 8,
  parameter int Pixels   = 256,
  parameter int RunBits  = 1216
) (
  input  wire                   clk_i,
  input  wire                   rst_ni,
  input  wire                   start_i,
  input  wire  [RunBits-1:0]    run_i,
  output logic                  done_o,
  output logic                  x_read_valid_o,
  output logic [31:0]           x_read_address_o,
  input  wire  [8*LanesIn-1:0]  x_data_i,
  output logic                  w_read_valid_o,
  output logic [31:0]           w_read_address_o,
  input  wire  [8*LanesOut-1:0] w_data_i,
  output logic                  write_valid_o,
  output logic [31:0]           write_address_o,
  output logic [15:0]           write_bytes_o,
  output logic [8*LanesOut-1:0] write_data_o
);
  `include "fe_run_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t run;                       // blocks, source and sink decode their fields themselves
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;
  localparam int PixelBits = $clog2(Pixels);

  // ---- blocks of weights ----
  typedef struct packed {
    logic        first, last, group_end, bank;
    logic [15:0] y, x;
    logic [31:0] row, pixel;
    logic [15:0] lanes;
  } block_t;
  block_t      ready, block, block_q;
  logic        b_read, b_constant, b_weight, b_bank, b_valid, b_idle, take, group_end;
  logic [31:0] b_address;

  fe_blocks #(.LanesIn(LanesIn), .LanesOut(LanesOut), .RunBits(RunBits)) u_blocks (
    .clk_i(clk_i),                         .rst_ni(rst_ni),
    .start_i(start_i),                     .run_i(run_i),
    .read_valid_o(b_read),                 .read_address_o(b_address),
    .is_constant_o(b_constant),            .is_weight_o(b_weight),
    .bank_o(b_bank),                       .block_valid_o(b_valid),
    .block_taken_i(take),                  .block_o(ready),
    .idle_o(b_idle),                       .group_done_i(group_end)
  );

  // ---- pixels of a block, one per cycle ----
  logic                 busy_q, issue, half_q, row_end, all_end, tile_end, in_bounds;
  logic [1:0]           half_busy_q, half_free;
  logic [PixelBits-1:0] pixel_q;
  logic [31:0]          x_address;

  assign take     = b_valid && !busy_q && !(ready.first && half_busy_q[half_q]);
  assign issue    = busy_q || take;
  assign block    = busy_q ? block_q : ready;
  assign tile_end = 16'(pixel_q) + 16'd1 == run.tile_pixels || all_end || (run.tile_row_end[0] && row_end);

  fe_source #(.RunBits(RunBits)) u_source (
    .clk_i(clk_i),                         .run_i(run_i),
    .load_i(start_i),                      .step_i(issue),
    .back_i(tile_end && !block.last),      .mark_i(tile_end && block.last),
    .k_y_i(block.y),                       .k_x_i(block.x),
    .k_row_i(block.row),                   .k_pixel_i(block.pixel),
    .address_o(x_address),                 .inside_o(in_bounds),
    .row_end_o(row_end),                   .end_o(all_end)
  );

  // ---- what travels with a pixel: 0 address, 1 data, 2 registered, 3 product, 4 sum ----
  typedef struct packed {
    logic                 swap, in_bounds, half, first, finish, bank;
    logic [PixelBits-1:0] pixel;
    logic [15:0]          lanes;
  } beat_t;
  localparam int BeatBits = 22 + PixelBits;
  logic [BeatBits-1:0] beat_q [5];
  // verilator lint_off UNUSEDSIGNAL
  beat_t      beat, data_beat, product_beat, sum_beat;    // each place needs some of the fields
  // verilator lint_on UNUSEDSIGNAL
  logic [4:0] valid_q;
  logic [1:0] w_valid_q, c_valid_q, c_bank_q;
  logic       running_q, drain_busy;

  assign beat.swap      = take;
  assign beat.in_bounds = in_bounds;
  assign beat.half      = half_q;
  assign beat.first     = block.first;
  assign beat.finish    = tile_end && block.last;
  assign beat.bank      = block.bank;
  assign beat.pixel     = pixel_q;
  assign beat.lanes     = block.lanes;
  assign data_beat      = beat_q[1];
  assign product_beat   = beat_q[3];
  assign sum_beat       = beat_q[4];

  assign done_o = running_q && b_idle && !busy_q && valid_q == '0 && !drain_busy;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {running_q, busy_q, half_q, valid_q, w_valid_q, c_valid_q} <= '0;
      half_busy_q <= '0;
      {x_read_valid_o, w_read_valid_o} <= '0;
    end else begin
      running_q      <= start_i || (running_q && !done_o);
      busy_q         <= issue && !tile_end;
      valid_q        <= {valid_q[3:0], issue};
      x_read_valid_o <= issue && in_bounds;
      w_read_valid_o <= b_read;
      w_valid_q      <= {w_valid_q[0], b_weight};
      c_valid_q      <= {c_valid_q[0], b_constant};
      half_busy_q    <= half_busy_q & ~half_free;
      if (take && ready.first) half_busy_q[half_q] <= 1'b1;
      if (issue && tile_end && block.last) half_q <= ~half_q;
    end
  end

  always_ff @(posedge clk_i) begin
    block_q          <= block;
    x_read_address_o <= x_address;
    w_read_address_o <= b_address;
    c_bank_q         <= {c_bank_q[0], b_bank};
    beat_q[0] <= beat;
    for (int i = 1; i < 5; i++) beat_q[i] <= beat_q[i-1];
    if (!rst_ni || start_i || (issue && tile_end)) pixel_q <= '0;
    else if (issue)                                pixel_q <= pixel_q + 1'b1;
  end

  // ---- multiply and accumulate ----
  logic [8*LanesIn-1:0]   x;
  logic [32*LanesOut-1:0] sums, totals;
  logic                   sum_valid, d_read, d_half, out_valid;
  logic [PixelBits-1:0]   d_pixel;
  logic [8*LanesOut-1:0]  out;

  always_comb begin
    for (int i = 0; i < LanesIn; i++) begin
      x[8*i+:8] = 16'(i) >= data_beat.lanes ? 8'd0
                : data_beat.in_bounds ? x_data_i[8*i+:8] : run.pad_value[7:0];
    end
  end

  fe_mac_array #(.LanesIn(LanesIn), .LanesOut(LanesOut)) u_array (
    .clk_i(clk_i),                         .rst_ni(rst_ni),
    .w_valid_i(w_valid_q[1]),              .w_i(w_data_i),
    .swap_i(valid_q[1] && data_beat.swap), .x_valid_i(valid_q[1]),
    .x_i(x),                               .sum_valid_o(sum_valid),
    .sum_o       (sums)
  );

  fe_accumulator #(.Lanes(LanesOut), .Pixels(Pixels)) u_accumulator (
    .clk_i(clk_i),                         .rst_ni(rst_ni),
    .add_valid_i(valid_q[3]),              .add_half_i(product_beat.half),
    .add_pixel_i(product_beat.pixel),      .add_first_i(product_beat.first),
    .sum_i(sums),                          .read_valid_i(d_read),
    .read_half_i(d_half),                  .read_pixel_i(d_pixel),
    .data_o       (totals)
  );

  fe_drain #(.Lanes(LanesOut), .Pixels(Pixels)) u_drain (
    .clk_i(clk_i),                         .rst_ni(rst_ni),
    .finish_valid_i(sum_valid && sum_beat.finish), .finish_half_i(sum_beat.half),
    .finish_bank_i(sum_beat.bank),        .finish_pixel_i(sum_beat.pixel),
    .half_free_o(half_free),               .busy_o(drain_busy),
    .c_valid_i(c_valid_q[1]),              .c_bank_i(c_bank_q[1]),
    .c_data_i(w_data_i),                   .read_valid_o(d_read),
    .read_half_o(d_half),                  .read_pixel_o(d_pixel),
    .sums_i(totals),                       .zero_i(run.out_zero),
    .min_i(run.clamp_min),                 .max_i(run.clamp_max),
    .out_valid_o(out_valid),               .out_data_o(out)
  );

  fe_sink #(.Lanes(LanesOut), .RunBits(RunBits)) u_sink (
    .clk_i(clk_i),                         .run_i(run_i),
    .load_i(start_i),                      .valid_i(out_valid),
    .data_i(out),                          .write_valid_o(write_valid_o),
    .write_address_o(write_address_o),     .write_bytes_o(write_bytes_o),
    .write_data_o(write_data_o),           .group_end_o(group_end)
  );
endmodule
`default_nettype wire
