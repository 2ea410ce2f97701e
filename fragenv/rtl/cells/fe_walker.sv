// fe_walker - walks the pixels of a task's frames in order: columns, then rows, then frames.
//
// It gives the pixel's byte offset in a ring of rows and the coordinates of its window, by additions
// alone. After the last pixel it stands on the first one again.
// Control   : load_i takes the first pixel; step_i moves on one pixel, or back to the mark where
//             back_i is 1; with mark_i the pixel arrived at becomes the mark. load_i also marks.
// Latency   : outputs follow an edge with load_i or step_i at once.  Throughput: 1 pixel per cycle.
// Reset     : none; load before use.  Number format: signed bytes and coordinates.
// Does not  : check that an address lies in the buffer, or a coordinate in the input.
`default_nettype none
module fe_walker (
  input  wire         clk_i,
  input  wire         load_i,
  input  wire         step_i,
  input  wire         back_i,
  input  wire         mark_i,
  // extent
  input  wire  [15:0] cols_i,
  input  wire  [15:0] rows_i,
  input  wire  [15:0] frames_i,
  // addresses, bytes
  input  wire  [31:0] ring_i,
  input  wire  [31:0] row0_i,
  input  wire  [31:0] row_step_i,
  input  wire  [31:0] col0_i,
  input  wire  [31:0] col_step_i,
  input  wire  [31:0] frame_step_i,
  // coordinates
  input  wire  [15:0] y0_i,
  input  wire  [15:0] x0_i,
  input  wire  [15:0] y_step_i,
  input  wire  [15:0] x_step_i,
  output logic [31:0] row_o,        // offset in the ring
  output logic [31:0] pixel_o,      // offset of the frame and the column
  output logic [15:0] y_o,
  output logic [15:0] x_o,
  output logic        row_end_o,    // last column of a row
  output logic        end_o         // last pixel of all
);
  typedef struct packed {
    logic [15:0] col;
    logic [15:0] row;
    logic [15:0] frame;
    logic [31:0] row_offset;
    logic [31:0] col_offset;
    logic [31:0] frame_offset;
    logic [15:0] y;
    logic [15:0] x;
  } state_t;

  state_t      state_q, next, mark_q, state_d;
  logic        last_row, last_frame;
  logic [31:0] below;

  assign row_end_o  = state_q.col + 16'd1 == cols_i;
  assign last_row   = state_q.row + 16'd1 == rows_i;
  assign last_frame = state_q.frame + 16'd1 == frames_i;
  assign end_o      = row_end_o && last_row && last_frame;
  assign row_o      = state_q.row_offset;
  assign pixel_o    = state_q.col_offset + state_q.frame_offset;
  assign y_o        = state_q.y;
  assign x_o        = state_q.x;
  assign below      = state_q.row_offset + row_step_i;

  always_comb begin
    next = state_q;
    next.col        = state_q.col + 16'd1;
    next.col_offset = state_q.col_offset + col_step_i;
    next.x          = state_q.x + x_step_i;
    if (row_end_o) begin
      next.col        = '0;
      next.col_offset = col0_i;
      next.x          = x0_i;
      next.row        = state_q.row + 16'd1;
      next.row_offset = below >= ring_i ? below - ring_i : below;
      next.y          = state_q.y + y_step_i;
      if (last_row) begin
        next.row          = '0;
        next.row_offset   = row0_i;
        next.y            = y0_i;
        next.frame        = last_frame ? '0 : state_q.frame + 16'd1;
        next.frame_offset = last_frame ? '0 : state_q.frame_offset + frame_step_i;
      end
    end
    state_d = back_i ? mark_q : next;
    if (load_i) begin
      state_d            = '0;
      state_d.row_offset = row0_i;
      state_d.col_offset = col0_i;
      state_d.y          = y0_i;
      state_d.x          = x0_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i || step_i) state_q <= state_d;
    if (load_i || (step_i && mark_i)) mark_q <= state_d;
  end
endmodule
`default_nettype wire
