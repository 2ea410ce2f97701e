// fe_places - the places of a RUN's outputs in their order, Lanes channels at a time.
//
// Order     : all pixels of a channel group, then the next group (pixels_first_i = 1), or all channel
//             groups of a pixel, then the next pixel. A group never spans two groups of a convolution.
// Control   : load_i starts; a place is taken where valid_o and take_i are 1.
// Latency   : the first place 3 cycles after load_i.  Throughput: 1 per cycle.
// Reset     : synchronous, active low: no places.
// Does not  : wrap a row: the ring of place_i holds whole rows.
`default_nettype none
module fe_places #(
  parameter int Lanes      = 8,
  parameter int RunBits    = 960,
  parameter int SourceBits = 320
) (
  input  wire                  clk_i,
  input  wire                  rst_ni,
  input  wire [RunBits-1:0]    run_i,
  input  wire [SourceBits-1:0] place_i,         // a source record: base, ring, steps
  input  wire                  pixels_first_i,
  input  wire                  load_i,
  input  wire                  take_i,
  output logic                 valid_o,
  output logic [31:0]          address_o,
  output logic [15:0]          bytes_o,
  output logic                 idle_o           // all places are taken
);
  `include "fe_run_record.svh"
  `include "fe_source_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t    run;                    // the extent of the outputs is a part of the record
  source_record_t place;
  logic [15:0]    y, x;                   // coordinates are of no use here
  logic           row_end, conv_end;
  // verilator lint_on UNUSEDSIGNAL
  assign run   = run_i;
  assign place = place_i;

  logic        active_q, half_valid_q, spare_valid_q, move, half_move, step, next_group, pixel_end, channel_end;
  logic [31:0] row_offset, col_offset, frame_offset, row_q, pixel_q, address, spare_address_q;
  logic [15:0] channel_q, width, width_q, spare_width_q;

  // a place that is not taken at once has a spare register behind it: the walk never waits for take_i itself
  assign move       = !valid_o || take_i;
  assign half_move  = !half_valid_q || !spare_valid_q;
  assign step       = active_q && half_move;
  assign next_group = step && (!pixels_first_i || pixel_end);
  assign address    = row_q + pixel_q;
  assign idle_o     = !active_q && !half_valid_q && !valid_o;

  fe_widths #(.Lanes(Lanes)) u_widths (
    .clk_i      (clk_i),
    .load_i     (load_i),
    .step_i     (next_group),
    .total_i    (run.done_channels),
    .first_i    (run.first_left),
    .group_i    (run.group_channels),
    .width_o    (width),
    .last_o     (channel_end),
    .conv_end_o (conv_end)
  );

  fe_walker #(.SourceBits(SourceBits)) u_walker (
    .clk_i        (clk_i),
    .load_i       (load_i),
    .step_i       (step && (pixels_first_i || channel_end)),
    .leave_i      (1'b0),
    .mark_i       (1'b0),
    .part_i       (2'd0),
    .cols_i       (run.cols),
    .rows_i       (run.rows),
    .frames_i     (run.frames),
    .sources_i    (place_i),
    .y0_i         (16'd0),
    .x0_i         (16'd0),
    .y_step_i     (16'd0),
    .x_step_i     (16'd0),
    .row_o        (row_offset),
    .col_o        (col_offset),
    .frame_o      (frame_offset),
    .y_o          (y),
    .x_o          (x),
    .row_end_o    (row_end),
    .end_o        (pixel_end)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {active_q, half_valid_q, spare_valid_q, valid_o} <= '0;
    end else if (load_i) begin
      active_q <= run.done_channels != '0;
      {half_valid_q, spare_valid_q, valid_o} <= '0;
    end else begin
      if (step && pixel_end && channel_end) active_q <= 1'b0;
      if (half_move) half_valid_q <= active_q;
      if (move)      valid_o      <= half_valid_q || spare_valid_q;
      spare_valid_q <= !move && (half_valid_q || spare_valid_q);
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i)          channel_q <= '0;
    else if (next_group) channel_q <= channel_end ? '0 : channel_q + width;
    if (half_move) begin
      row_q   <= row_offset + place.base;
      pixel_q <= col_offset + frame_offset + 32'(channel_q);
      width_q <= width;
    end
    if (!spare_valid_q) begin
      spare_address_q <= address;
      spare_width_q   <= width_q;
    end
    if (move) begin
      address_o <= spare_valid_q ? spare_address_q : address;
      bytes_o   <= spare_valid_q ? spare_width_q : width_q;
    end
  end
endmodule
`default_nettype wire
