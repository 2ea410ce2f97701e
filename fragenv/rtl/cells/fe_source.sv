// fe_source - where a window element of a RUN's input lies: walks the windows, adds a kernel offset.
//
// Control   : load_i starts the walk; step_i, back_i, mark_i as in fe_walker. The kernel offset
//             (k_*_i) belongs to the element that is asked for in the same cycle.
// Latency   : address_o and inside_o follow their inputs in the same cycle.
// Reset     : none; load before use.
// Does not  : read.
`default_nettype none
module fe_source #(
  parameter int RunBits = 1216
) (
  input  wire               clk_i,
  input  wire [RunBits-1:0] run_i,
  input  wire               load_i,
  input  wire               step_i,
  input  wire               back_i,
  input  wire               mark_i,
  input  wire [15:0]        k_y_i,
  input  wire [15:0]        k_x_i,
  input  wire [31:0]        k_row_i,
  input  wire [31:0]        k_pixel_i,
  output logic [31:0]       address_o,
  output logic              inside_o,     // 0: the element is padding
  output logic              row_end_o,
  output logic              end_o
);
  `include "fe_run_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t run;                       // the fields of the source are a part of the record
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;

  logic [31:0] row_offset, pixel_offset, row_sum, row_in_ring;
  logic [15:0] y, x, y_in, x_in;

  assign row_sum     = row_offset + k_row_i;
  assign row_in_ring = row_sum >= run.src_ring ? row_sum - run.src_ring : row_sum;
  assign address_o   = run.src_base + pixel_offset + row_in_ring + k_pixel_i;
  assign y_in        = y + k_y_i;
  assign x_in        = x + k_x_i;
  assign inside_o    = y_in < run.in_rows && x_in < run.in_cols;  // negative ones are large

  fe_walker u_walker (
    .clk_i        (clk_i),
    .load_i       (load_i),
    .step_i       (step_i),
    .back_i       (back_i),
    .mark_i       (mark_i),
    .cols_i       (run.cols),
    .rows_i       (run.rows),
    .frames_i     (run.frames),
    .ring_i       (run.src_ring),
    .row0_i       (run.src_row0),
    .row_step_i   (run.src_row_step),
    .col0_i       (run.src_col0),
    .col_step_i   (run.src_col_step),
    .frame_step_i (run.src_frame_step),
    .y0_i         (run.y0),
    .x0_i         (run.x0),
    .y_step_i     (run.y_step),
    .x_step_i     (run.x_step),
    .row_o        (row_offset),
    .pixel_o      (pixel_offset),
    .y_o          (y),
    .x_o          (x),
    .row_end_o    (row_end_o),
    .end_o        (end_o)
  );
endmodule
`default_nettype wire
