// Fields of the source record, written from fragenv/rtl/isa.py: change them there.
typedef struct packed {
  logic        [15:0] in_lanes_last;  // input channels of the last group
  logic        [15:0] in_groups;  // groups of PI input channels
  logic        [31:0] k_col_step;  // bytes between columns of the kernel
  logic        [31:0] k_row_step;  // bytes between rows of the kernel
  logic        [31:0] frame_step;  // bytes from a frame to the next
  logic        [31:0] col_step;  // bytes from a window to the next in its row
  logic signed [31:0] col0;  // bytes from a row's start to the first window, padding negative
  logic        [31:0] row_step;  // bytes in the ring from a window to the one below
  logic        [31:0] row0;  // offset in the ring of the first window's first row
  logic        [31:0] ring;  // bytes of the ring of input rows
  logic        [31:0] base;  // buffer address of the first frame's ring
} source_record_t;
