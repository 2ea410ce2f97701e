// Fields of the residual record, written from fragenv/rtl/isa.py: change them there.
typedef struct packed {
  logic        [15:0] spare;
  logic        [31:0] frame_step;  // bytes from a frame to the next
  logic        [31:0] col_step;  // bytes from a pixel to the next
  logic        [31:0] row_step;  // bytes from a row to the next
  logic        [31:0] row0;  // offset in the ring of its first row
  logic        [31:0] ring;  // bytes of the ring of its rows
  logic        [31:0] base;  // buffer address of the tensor's first frame
  logic        [31:0] multiplier_b;  // 24-bit multiplier of the tensor
  logic        [31:0] multiplier_a;  // 24-bit multiplier of the outputs
  logic signed [15:0] clamp_max;  // largest result
  logic signed [15:0] clamp_min;  // least result
  logic signed [15:0] out_zero;  // zero point added after the shift
  logic        [15:0] shift;  // right shift of the sum
  logic signed [15:0] zero_b;  // zero point of the tensor that is added
  logic signed [15:0] zero_a;  // zero point of the outputs before the addition
  logic        [15:0] on;  // 1 where a tensor is added to the outputs
} residual_record_t;
