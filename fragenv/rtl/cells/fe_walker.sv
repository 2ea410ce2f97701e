// fe_walker - walks the pixels of a task's frames in order: columns, then rows, then frames.
//
// It gives the pixel's byte offset in a ring of rows and the coordinates of its window, by additions
// alone. After the last pixel it stands on the first one again. Several parts (tensors side by side
// along the channels) share one walk; each has addresses of its own.
// Control   : load_i takes the first pixel, for all parts, and marks it; extent, addresses and coordinates
//             are stable from then on. The outputs belong to the pixel where the walk of part_i stands;
//             step_i moves it on. With leave_i as well, the pixel arrived at is kept as this part's next
//             mark, and the walk goes back to the marked one, where every part then stands; with leave_i
//             and mark_i those of all parts become the marks first. part_i changes after leave_i alone.
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
  // The next pixel is chosen by flags that are in registers; counters count down to 1.
  typedef struct packed {
    logic        row_end;
    logic        last_row;
    logic        last_frame;
    logic [15:0] cols_left;       // this one too
    logic [15:0] rows_left;
    logic [15:0] frames_left;
    logic [15:0] y;
    logic [15:0] x;
  } pixel_t;
  typedef struct packed {
    logic [31:0] row;
    logic [31:0] col;
    logic [31:0] frame;
  } offsets_t;

  // verilator lint_off UNUSEDSIGNAL
  source_record_t source;
  // verilator lint_on UNUSEDSIGNAL
  pixel_t         pixel_q, pixel_mark_q, pixel_next, pixel_first;
  offsets_t       offsets, next;
  offsets_t       offsets_q [Parts];
  offsets_t       mark_q    [Parts];
  offsets_t       kept_q    [Parts];
  logic [32:0]    back_q    [Parts];    // a step down and one ring back: negative
  logic [32:0]    back, wrapped;
  logic           plane_end;

  assign plane_end = pixel_q.row_end && pixel_q.last_row;
  assign row_end_o = pixel_q.row_end;
  assign end_o     = plane_end && pixel_q.last_frame;
  assign row_o     = offsets.row;
  assign col_o     = offsets.col;
  assign frame_o   = offsets.frame;
  assign y_o       = pixel_q.y;
  assign x_o       = pixel_q.x;
  assign wrapped   = 33'(offsets.row) + back;

  always_comb begin
    source  = sources_i[SourceBits-1:0];
    offsets = offsets_q[0];
    back    = back_q[0];
    for (int p = 1; p < Parts; p++) begin
      if (part_i == 2'(p)) begin
        source  = sources_i[SourceBits*p+:SourceBits];
        offsets = offsets_q[p];
        back    = back_q[p];
      end
    end
  end

  always_comb begin
    pixel_first.row_end     = cols_i == 16'd1;
    pixel_first.last_row    = rows_i == 16'd1;
    pixel_first.last_frame  = frames_i == 16'd1;
    pixel_first.cols_left   = cols_i;
    pixel_first.rows_left   = rows_i;
    pixel_first.frames_left = frames_i;
    pixel_first.y           = y0_i;
    pixel_first.x           = x0_i;

    pixel_next           = pixel_q;
    pixel_next.row_end   = pixel_q.cols_left == 16'd2;
    pixel_next.cols_left = pixel_q.cols_left - 16'd1;
    pixel_next.x         = pixel_q.x + x_step_i;
    if (pixel_q.row_end) begin
      pixel_next.row_end   = pixel_first.row_end;
      pixel_next.cols_left = cols_i;
      pixel_next.x         = x0_i;
      pixel_next.last_row  = pixel_q.rows_left == 16'd2;
      pixel_next.rows_left = pixel_q.rows_left - 16'd1;
      pixel_next.y         = pixel_q.y + y_step_i;
    end
    if (plane_end) begin
      pixel_next.last_row    = pixel_first.last_row;
      pixel_next.rows_left   = rows_i;
      pixel_next.y           = y0_i;
      pixel_next.last_frame  = pixel_q.last_frame ? pixel_first.last_frame : pixel_q.frames_left == 16'd2;
      pixel_next.frames_left = pixel_q.last_frame ? frames_i : pixel_q.frames_left - 16'd1;
    end
  end

  always_comb begin
    next     = offsets;
    next.col = pixel_q.row_end ? source.col0 : offsets.col + source.col_step;
    if (pixel_q.row_end) next.row = wrapped[32] ? offsets.row + source.row_step : wrapped[31:0];
    if (plane_end) begin
      next.row   = source.row0;
      next.frame = pixel_q.last_frame ? '0 : offsets.frame + source.frame_step;
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i)      pixel_q <= pixel_first;
    else if (step_i) pixel_q <= leave_i && !mark_i ? pixel_mark_q : pixel_next;
    if (load_i)                           pixel_mark_q <= pixel_first;
    else if (step_i && leave_i && mark_i) pixel_mark_q <= pixel_next;
  end

  for (genvar p = 0; p < Parts; p++) begin : gen_part
    // verilator lint_off UNUSEDSIGNAL
    source_record_t own;
    // verilator lint_on UNUSEDSIGNAL
    logic           mine;
    offsets_t       start, target;

    assign own    = sources_i[SourceBits*p+:SourceBits];
    assign mine   = Parts == 1 || part_i == 2'(p);
    assign start  = {own.row0, own.col0, 32'd0};
    assign target = mine ? next : kept_q[p];

    always_ff @(posedge clk_i) begin
      if (load_i) begin
        back_q[p]    <= 33'(own.row_step) - 33'(own.ring);
        offsets_q[p] <= start;
        mark_q[p]    <= start;
        kept_q[p]    <= start;
      end else if (step_i && leave_i) begin
        offsets_q[p] <= mark_i ? target : mark_q[p];
        if (mark_i) mark_q[p] <= target;
        if (mine)   kept_q[p] <= next;
      end else if (step_i && mine) begin
        offsets_q[p] <= next;
      end
    end
  end
endmodule
`default_nettype wire
