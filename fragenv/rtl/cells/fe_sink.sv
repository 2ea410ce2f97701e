// fe_sink - writes a RUN's output pixels, Lanes channels at a time, to their places in the buffer.
//
// Control   : load_i starts the walk. valid_i brings Lanes channels of a pixel: of the next pixel where
//             PixelFirst is 1 (channel groups outside), of the next channel group otherwise.
// Latency   : the write follows valid_i in the same cycle.  Throughput: 1 per cycle.
// Reset     : none; load before use.
// Does not  : stall.
`default_nettype none
module fe_sink #(
  parameter int Lanes      = 8,
  parameter bit PixelFirst = 1'b1,
  parameter int RunBits    = 1216
) (
  input  wire                clk_i,
  input  wire [RunBits-1:0]  run_i,
  input  wire                load_i,
  input  wire                valid_i,
  input  wire [8*Lanes-1:0]  data_i,
  output logic               write_valid_o,
  output logic [31:0]        write_address_o,
  output logic [15:0]        write_bytes_o,
  output logic [8*Lanes-1:0] write_data_o,
  output logic               group_end_o     // valid_i is the last pixel of its channel group
);
  `include "fe_run_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t run;                       // the fields of the sink are a part of the record
  logic [15:0] y, x;                      // coordinates are of no use here
  logic        row_end;
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;

  logic [31:0] row_offset, pixel_offset;
  logic [15:0] channel_q, left;
  logic        pixel_end, channel_end;

  assign left            = run.out_channels - channel_q;
  assign channel_end     = left <= 16'(Lanes);
  assign group_end_o     = valid_i && pixel_end;
  assign write_valid_o   = valid_i;
  assign write_address_o = run.dst_base + pixel_offset + row_offset + 32'(channel_q);
  assign write_bytes_o   = channel_end ? left : 16'(Lanes);
  assign write_data_o    = data_i;

  always_ff @(posedge clk_i) begin
    if (load_i) channel_q <= '0;
    else if (valid_i && (!PixelFirst || pixel_end)) channel_q <= channel_end ? '0 : channel_q + 16'(Lanes);
  end

  fe_walker u_walker (
    .clk_i        (clk_i),
    .load_i       (load_i),
    .step_i       (valid_i && (PixelFirst || channel_end)),
    .back_i       (1'b0),
    .mark_i       (1'b0),
    .cols_i       (run.cols),
    .rows_i       (run.rows),
    .frames_i     (run.frames),
    .ring_i       (run.dst_ring),
    .row0_i       (run.dst_row0),
    .row_step_i   (run.dst_row_step),
    .col0_i       (32'd0),
    .col_step_i   (run.dst_col_step),
    .frame_step_i (run.dst_frame_step),
    .y0_i         (16'd0),
    .x0_i         (16'd0),
    .y_step_i     (16'd0),
    .x_step_i     (16'd0),
    .row_o        (row_offset),
    .pixel_o      (pixel_offset),
    .y_o          (y),
    .x_o          (x),
    .row_end_o    (row_end),
    .end_o        (pixel_end)
  );
endmodule
`default_nettype wire
