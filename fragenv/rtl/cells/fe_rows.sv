// fe_rows - rows of weights wait here until the block before theirs is in use; then they are shifted in.
//
// Blocks take turns: a row belongs to a block of parity odd_i. The first block after reset is even.
// Control   : load_i before the rows of a RUN, whose blocks have rows_i rows. swap_i: the next block is in use.
// In        : asked_i: a row was asked for, whose data will come where real_i is 1 (data_valid_i, in order); at
//             most Depth rows that were not shifted.
// Out       : shift_o with row_o: a row leaves for the array; row_o is undefined where it has no data.
//             complete_o: all rows of the next block are in place.
// Latency   : 0 cycles when empty.  Throughput: 1 row per cycle.
// Reset     : synchronous, active low.
// Does not  : wait for the array, which takes every row.
`default_nettype none
module fe_rows #(
  parameter int Lanes = 8,
  parameter int Depth = 16               // a power of two
) (
  input  wire                clk_i,
  input  wire                rst_ni,
  input  wire                asked_i,
  input  wire                odd_i,
  input  wire                real_i,
  input  wire                data_valid_i,
  input  wire  [8*Lanes-1:0] data_i,
  input  wire                load_i,
  input  wire  [15:0]        rows_i,
  input  wire                swap_i,
  output logic               shift_o,
  output logic [8*Lanes-1:0] row_o,
  output logic               complete_o
);
  logic        row_valid, row_odd, row_real, data_there, next_odd_q;
  logic [15:0] left_q;                   // rows of the next block that are not in place

  assign shift_o    = row_valid && row_odd == (next_odd_q ^ swap_i) && (!row_real || data_there);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      next_odd_q <= 1'b0;
      complete_o <= 1'b0;
    end else begin
      if (swap_i) next_odd_q <= ~next_odd_q;
      complete_o <= swap_i ? shift_o && rows_i == 16'd1 : complete_o || (shift_o && left_q == 16'd1);
    end
    left_q <= load_i ? rows_i : (swap_i ? rows_i : left_q) - 16'(shift_o);
  end

  fe_fifo #(.Bits(2), .Depth(Depth)) u_kinds (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (asked_i),
    .data_i  ({odd_i, real_i}),
    .valid_o (row_valid),
    .ready_i (shift_o),
    .data_o  ({row_odd, row_real})
  );

  fe_fifo #(.Bits(8 * Lanes), .Depth(Depth)) u_rows (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (data_valid_i),
    .data_i  (data_i),
    .valid_o (data_there),
    .ready_i (shift_o && row_real),
    .data_o  (row_o)
  );
endmodule
`default_nettype wire
