// fe_source - where a window element of a RUN's input lies: walks the windows, adds a kernel offset.
//
// Control   : load_i starts the walk; step_i, leave_i, mark_i, part_i as in fe_walker. The kernel
//             offset (k_*_i) belongs to the element that is asked for in the same cycle.
// Latency   : row_end_o and end_o follow in the same cycle, address_o and inside_o 3 cycles later.
// Reset     : none; load before use.
// Does not  : read.
`default_nettype none
module fe_source #(
  parameter int Parts      = 1,
  parameter int SourceBits = 320,
  parameter int RunBits    = 960
) (
  input  wire               clk_i,
  input  wire [RunBits-1:0] run_i,
  input  wire [SourceBits*Parts-1:0] sources_i,
  input  wire               load_i,
  input  wire               step_i,
  input  wire               leave_i,
  input  wire               mark_i,
  input  wire [1:0]         part_i,
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
  `include "fe_source_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t    run;                    // the fields of the walk are a part of the record
  source_record_t source;
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;

  always_comb begin
    source = sources_i[SourceBits-1:0];
    for (int p = 1; p < Parts; p++) if (part_i == 2'(p)) source = sources_i[SourceBits*p+:SourceBits];
  end

  logic [31:0] row_offset, col_offset, frame_offset;
  logic [15:0] y, x;

  fe_walker #(.Parts(Parts), .SourceBits(SourceBits)) u_walker (
    .clk_i        (clk_i),
    .load_i       (load_i),
    .step_i       (step_i),
    .leave_i      (leave_i),
    .mark_i       (mark_i),
    .part_i       (part_i),
    .cols_i       (run.cols),
    .rows_i       (run.rows),
    .frames_i     (run.frames),
    .sources_i    (sources_i),
    .y0_i         (run.y0),
    .x0_i         (run.x0),
    .y_step_i     (run.y_step),
    .x_step_i     (run.x_step),
    .row_o        (row_offset),
    .col_o        (col_offset),
    .frame_o      (frame_offset),
    .y_o          (y),
    .x_o          (x),
    .row_end_o    (row_end_o),
    .end_o        (end_o)
  );

  // three additions, one after the other: a stage each
  logic [31:0] row_q, ring_q, pixel_q, base_q, row_in_ring_q, place_q;
  logic [15:0] y_q, x_q;
  logic        inside_q;

  always_ff @(posedge clk_i) begin
    row_q         <= row_offset + k_row_i;
    ring_q        <= source.ring;
    pixel_q       <= col_offset + k_pixel_i;
    base_q        <= source.base + frame_offset;
    y_q           <= y + k_y_i;
    x_q           <= x + k_x_i;
    row_in_ring_q <= row_q >= ring_q ? row_q - ring_q : row_q;
    place_q       <= base_q + pixel_q;
    inside_q      <= y_q < run.in_rows && x_q < run.in_cols;  // negative ones are large
    address_o     <= place_q + row_in_ring_q;
    inside_o      <= inside_q;
  end
endmodule
`default_nettype wire
