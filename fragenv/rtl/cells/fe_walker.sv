// fe_walker - walks the pixels of a task's frames in order: columns, then rows, then frames.
//
// It gives the pixel's byte offset in a ring of rows and the coordinates of its window, by additions
// alone. After the last pixel it stands on the first one again. Several parts (tensors side by side
// along the channels) share one walk; each has addresses of its own.
// Control   : load_i takes the first pixel, for all parts. The outputs belong to the pixel where the walk
//             stands, or where first_i is 1 to the marked one. step_i moves on from it; with leave_i the
//             pixel arrived at is kept as this part's next mark, with mark_i those of all parts become the
//             marks. load_i also marks.
// Latency   : outputs follow an edge with load_i or step_i at once.  Throughput: 1 pixel per cycle.
// Reset     : none; load before use.  Number format: signed bytes and coordinates.
// Does not  : check that an address lies in the buffer, or a coordinate in the input.
`default_nettype none
module fe_walker #(
  parameter int Parts      = 1,
  parameter int SourceBits = 320
) (
  input  wire                         clk_i,
  input  wire                         load_i,
  input  wire                         first_i,
  input  wire                         step_i,
  input  wire                         leave_i,
  input  wire                         mark_i,
  input  wire  [1:0]                  part_i,
  // extent
  input  wire  [15:0]                 cols_i,
  input  wire  [15:0]                 rows_i,
  input  wire  [15:0]                 frames_i,
  // addresses, bytes: source records, of which base and kernel steps are not used here
  input  wire  [SourceBits*Parts-1:0] sources_i,
  // coordinates
  input  wire  [15:0]                 y0_i,
  input  wire  [15:0]                 x0_i,
  input  wire  [15:0]                 y_step_i,
  input  wire  [15:0]                 x_step_i,
  output logic [31:0]                 row_o,        // offset in the ring
  output logic [31:0]                 col_o,        // offset of the column
  output logic [31:0]                 frame_o,      // offset of the frame
  output logic [15:0]                 y_o,
  output logic [15:0]                 x_o,
  output logic                        row_end_o,    // last column of a row
  output logic                        end_o         // last pixel of all
);
  `include "fe_source_record.svh"
  typedef struct packed {
    logic [15:0] col;
    logic [15:0] row;
    logic [15:0] frame;
    logic [15:0] y;
    logic [15:0] x;
  } pixel_t;
  typedef struct packed {
    logic [31:0] row;
    logic [31:0] col;
    logic [31:0] frame;
  } offsets_t;

  // verilator lint_off UNUSEDSIGNAL
  source_record_t source, part0;
  // verilator lint_on UNUSEDSIGNAL
  pixel_t      pixel_q, pixel_mark_q, pixel, pixel_next, pixel_first;
  offsets_t    offsets_q, offsets, marked, next;
  offsets_t    mark_q [Parts];
  offsets_t    kept_q [Parts];
  logic        last_row, last_frame;
  logic [31:0] below;

  assign part0      = sources_i[SourceBits-1:0];
  assign pixel      = first_i ? pixel_mark_q : pixel_q;
  assign row_end_o  = pixel.col + 16'd1 == cols_i;
  assign last_row   = pixel.row + 16'd1 == rows_i;
  assign last_frame = pixel.frame + 16'd1 == frames_i;
  assign end_o      = row_end_o && last_row && last_frame;
  assign row_o      = offsets.row;
  assign col_o      = offsets.col;
  assign frame_o    = offsets.frame;
  assign y_o        = pixel.y;
  assign x_o        = pixel.x;
  assign below      = offsets.row + source.row_step;

  always_comb begin
    source = part0;
    marked = mark_q[0];
    for (int p = 1; p < Parts; p++) begin
      if (part_i == 2'(p)) begin
        source = sources_i[SourceBits*p+:SourceBits];
        marked = mark_q[p];
      end
    end
    offsets = first_i ? marked : offsets_q;
  end

  always_comb begin
    pixel_first       = '0;
    pixel_first.y     = y0_i;
    pixel_first.x     = x0_i;
    pixel_next        = pixel;
    next              = offsets;
    pixel_next.col    = pixel.col + 16'd1;
    pixel_next.x      = pixel.x + x_step_i;
    next.col          = offsets.col + source.col_step;
    if (row_end_o) begin
      pixel_next.col  = '0;
      pixel_next.x    = x0_i;
      next.col        = source.col0;
      pixel_next.row  = pixel.row + 16'd1;
      pixel_next.y    = pixel.y + y_step_i;
      next.row        = below >= source.ring ? below - source.ring : below;
      if (last_row) begin
        pixel_next.row   = '0;
        pixel_next.y     = y0_i;
        next.row         = source.row0;
        pixel_next.frame = last_frame ? '0 : pixel.frame + 16'd1;
        next.frame       = last_frame ? '0 : offsets.frame + source.frame_step;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i)      pixel_q <= pixel_first;
    else if (step_i) pixel_q <= pixel_next;
    if (load_i)                pixel_mark_q <= pixel_first;
    else if (step_i && mark_i) pixel_mark_q <= pixel_next;
    if (step_i) offsets_q <= next;
    if (load_i) offsets_q <= {part0.row0, part0.col0, 32'd0};
  end

  for (genvar p = 0; p < Parts; p++) begin : gen_part
    // verilator lint_off UNUSEDSIGNAL
    source_record_t own;
    // verilator lint_on UNUSEDSIGNAL
    logic           mine;
    offsets_t       start;

    assign own   = sources_i[SourceBits*p+:SourceBits];
    assign mine  = Parts == 1 || part_i == 2'(p);
    assign start = {own.row0, own.col0, 32'd0};

    always_ff @(posedge clk_i) begin
      if (load_i)                         kept_q[p] <= start;
      else if (step_i && leave_i && mine) kept_q[p] <= next;
      if (load_i)                mark_q[p] <= start;
      else if (step_i && mark_i) mark_q[p] <= mine ? next : kept_q[p];
    end
  end
endmodule
`default_nettype wire
