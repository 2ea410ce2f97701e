// Fields of the run record, written from fragenv/rtl/isa.py: change them there.
typedef struct packed {
  logic        [31:0] spare;
  logic        [31:0] multiplier;  // window operations: 24-bit multiplier of the requantiser
  logic signed [31:0] bias;  // window operations: added before requantisation
  logic        [31:0] dst_frame_step;  // bytes from an output frame to the next
  logic        [31:0] dst_col_step;  // bytes from an output pixel to the next
  logic        [31:0] dst_row_step;  // bytes from an output row to the next
  logic        [31:0] dst_row0;  // offset in the ring of the first output row
  logic        [31:0] dst_ring;  // bytes of the ring of output rows
  logic        [31:0] dst_base;  // buffer address of the first frame's first output row
  logic        [31:0] passes;  // weight blocks times pixel tiles; LRN: B
  logic        [31:0] w_base;  // buffer address of the first block, constants included; LRN: K
  logic        [31:0] first_col;  // first_s times its k_col_step; LRN: bits 39:32 of K
  logic signed [31:0] first_row;  // first_r times the source's k_row_step; LRN: G of fe_lrn
  logic        [15:0] shift;  // window operations: right shift of the requantiser
  logic        [15:0] first_x;  // first_s times the dilation; LRN: channels before the middle
  logic        [15:0] first_y;  // first_r times the dilation
  logic        [15:0] first_s;  // kernel column of the first weight block
  logic        [15:0] first_r;  // kernel row of the first weight block
  logic        [15:0] first_group;  // input group of the first weight block
  logic        [15:0] first_part;  // source of the first weight block
  logic        [15:0] group_step;  // input channels of a group of the convolution
  logic        [15:0] first_left;  // those that the first group has left
  logic        [15:0] group_channels;  // output channels of a group of the convolution
  logic        [15:0] done_channels;  // those of them that are complete at the end and written
  logic        [15:0] out_channels;  // output channels, from the first group on
  logic        [15:0] parts;  // sources side by side along the input channels
  logic        [15:0] tiles;  // pixel tiles
  logic        [15:0] tile_pixels;  // pixels that pass per block of weights
  logic        [15:0] frames;  // frames
  logic        [15:0] rows;  // output rows per frame
  logic        [15:0] cols;  // output columns per row
  logic        [15:0] k_x_step;  // input columns between columns of the kernel (dilation)
  logic        [15:0] k_y_step;  // input rows between rows of the kernel (dilation)
  logic        [15:0] k_cols;  // columns of the kernel; LRN: channels of the window
  logic        [15:0] k_rows;  // rows of the kernel
  logic        [15:0] x_step;  // input columns from a window to the next
  logic        [15:0] y_step;  // input rows from a window to the one below
  logic signed [15:0] x0;  // input column of the first window's first column
  logic signed [15:0] y0;  // input row of the first window's first row
  logic        [15:0] in_cols;  // columns of the input
  logic        [15:0] in_rows;  // rows of the input
  logic signed [15:0] clamp_max;  // largest output
  logic signed [15:0] clamp_min;  // least output
  logic signed [15:0] out_zero;  // zero point added after requantisation
  logic signed [15:0] pad_value;  // what a window reads outside of its input; LRN: its zero point
  logic        [15:0] counts;  // 1 where the end of this record completes its command
  logic        [15:0] op;  // 0 multiply-accumulate, 1 maximum, 2 sum, 3 LRN, 4 depthwise
} run_record_t;
