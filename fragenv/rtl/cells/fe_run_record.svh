// Fields of the run record, written from fragenv/rtl/isa.py: change them there.
typedef struct packed {
  logic        [47:0] spare;
  logic        [31:0] multiplier;  // window operations: 24-bit multiplier of the requantiser
  logic signed [31:0] bias;  // window operations: added before requantisation
  logic        [31:0] dst_frame_step;  // bytes from an output frame to the next
  logic        [31:0] dst_col_step;  // bytes from an output pixel to the next
  logic        [31:0] dst_row_step;  // bytes from an output row to the next
  logic        [31:0] dst_row0;  // offset in the ring of the first output row
  logic        [31:0] dst_ring;  // bytes of the ring of output rows
  logic        [31:0] dst_base;  // buffer address of the first frame's first output row
  logic        [31:0] passes;  // weight blocks times pixel tiles
  logic        [31:0] w_base;  // buffer address of the first block, constants included
  logic        [31:0] first_col;  // first_s times k_col_step
  logic        [31:0] first_row;  // first_r times k_row_step
  logic        [15:0] shift;  // window operations: right shift of the requantiser
  logic        [15:0] first_x;  // first_s times the dilation
  logic        [15:0] first_y;  // first_r times the dilation
  logic        [15:0] first_s;  // kernel column of the first weight block
  logic        [15:0] first_r;  // kernel row of the first weight block
  logic        [15:0] first_group;  // input group of the first weight block
  logic        [15:0] out_channels;  // output channels, from the first group on
  logic        [15:0] in_lanes_last;  // input channels of the last group
  logic        [15:0] in_groups;  // groups of PI input channels
  logic        [15:0] tile_row_end;  // 1 where a tile also ends with its row
  logic        [15:0] tiles;  // pixel tiles
  logic        [15:0] tile_pixels;  // pixels that pass per block of weights
  logic        [15:0] frames;  // frames
  logic        [15:0] rows;  // output rows per frame
  logic        [15:0] cols;  // output columns per row
  logic        [31:0] k_col_step;  // bytes between columns of the kernel
  logic        [31:0] k_row_step;  // bytes between rows of the kernel
  logic        [15:0] k_x_step;  // input columns between columns of the kernel (dilation)
  logic        [15:0] k_y_step;  // input rows between rows of the kernel (dilation)
  logic        [15:0] k_cols;  // columns of the kernel
  logic        [15:0] k_rows;  // rows of the kernel
  logic        [15:0] x_step;  // input columns from a window to the next
  logic        [15:0] y_step;  // input rows from a window to the one below
  logic signed [15:0] x0;  // input column of the first window's first column
  logic signed [15:0] y0;  // input row of the first window's first row
  logic        [31:0] src_frame_step;  // bytes from a frame to the next
  logic        [31:0] src_col_step;  // bytes from a window to the next in its row
  logic signed [31:0] src_col0;  // bytes from a row's start to the first window, padding negative
  logic        [31:0] src_row_step;  // bytes in the ring from a window to the one below
  logic        [31:0] src_row0;  // offset in the ring of the first window's first row
  logic        [31:0] src_ring;  // bytes of the ring of input rows
  logic        [31:0] src_base;  // buffer address of the first frame's ring
  logic        [15:0] in_cols;  // columns of the input
  logic        [15:0] in_rows;  // rows of the input
  logic signed [15:0] clamp_max;  // largest output
  logic signed [15:0] clamp_min;  // least output
  logic signed [15:0] out_zero;  // zero point added after requantisation
  logic signed [15:0] pad_value;  // what a window reads outside of its input
  logic        [15:0] counts;  // 1 where the end of this record completes its command
  logic        [15:0] op;  // 0 multiply-accumulate, 1 maximum of the window, 2 sum of the window
} run_record_t;
