// fe_blocks - reads the weight stream of a RUN block by block and says what each block is.
//
// The stream holds, per group of LanesOut output channels, 8 rows of constants (one byte of each
// channel's 64 bits per row), then the blocks in the order input group, kernel row, kernel column;
// a block has a row per valid input lane, a row a byte per valid output lane. The blocks of an output
// group are read again for each pixel tile.
// Control   : start_i begins a RUN. block_valid_o: a block lies in the spare weights; block_taken_i
//             takes it, and the next one's first row may be read in the same cycle.
//             group_done_i: the last pixel of an output group has left the requantiser.
// Memory    : read_valid_o, read_address_o; is_constant_o and is_weight_o say where the data belongs.
// Latency   : the first row is read 1 cycle after start_i.  Throughput: 1 row per cycle, LanesIn rows per block.
// Reset     : synchronous, active low.
// Does not  : hold the weights, or know about pixels.
`default_nettype none
module fe_blocks #(
  parameter int LanesIn  = 8,
  parameter int LanesOut = 8,
  parameter int RunBits  = 1216
) (
  input  wire         clk_i,
  input  wire         rst_ni,
  input  wire         start_i,
  input  wire  [RunBits-1:0] run_i,       // stable while the RUN runs
  // memory
  output logic        read_valid_o,
  output logic [31:0] read_address_o,
  output logic        is_constant_o,
  output logic        is_weight_o,
  output logic        bank_o,            // which of the two sets of constants
  // the block that is ready
  output logic        block_valid_o,
  input  wire         block_taken_i,
  output logic [115:0] block_o,          // block_t below: first, last, group_end, bank, y, x, row, pixel, lanes
  output logic        idle_o,            // all blocks are taken
  input  wire         group_done_i
);
  `include "fe_run_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t run;                       // pixels and addresses are the business of others
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;
  localparam logic [15:0] ConstantRows = 16'd8;

  typedef struct packed {
    logic        first;        // its sums start from zero
    logic        last;         // its sums are final
    logic        group_end;    // and it is the last pixel tile of its output group
    logic        bank;         // set of constants
    logic [15:0] y, x;         // kernel offset, input rows and columns
    logic [31:0] row;          // bytes from a window's first row to this kernel row
    logic [31:0] pixel;        // bytes from its first column to this column and lane group
    logic [15:0] lanes;        // valid input lanes
  } block_t;

  block_t      block_q, block;
  logic        active_q, constants_q, bank_q;
  logic [1:0]  banks_q;                  // sets of constants in use
  logic [31:0] address_q, group_address_q, passes_q, left_q;
  logic [15:0] step_q, tile_q, group_q, r_q, s_q, y_q, x_q;
  logic [31:0] row_q, col_q, channel_q;
  logic        free, issue, row_valid, step_last, last_s, last_r, last_group, last_tile, block_done;
  logic [31:0] width;

  assign free       = !constants_q || step_q != '0 || banks_q < 2'd2;
  assign issue      = active_q && (!block_valid_o || block_taken_i) && free;
  assign width      = left_q < 32'(LanesOut) ? left_q : 32'(LanesOut);
  assign row_valid  = constants_q || step_q < block.lanes;
  assign step_last  = step_q + 16'd1 == (constants_q ? ConstantRows : 16'(LanesIn));
  assign block_done = issue && !constants_q && step_last;
  assign last_s     = s_q + 16'd1 == run.k_cols;
  assign last_r     = r_q + 16'd1 == run.k_rows;
  assign last_group = group_q + 16'd1 == run.in_groups;
  assign last_tile  = tile_q + 16'd1 == run.tiles;

  assign block.first     = group_q == '0 && r_q == '0 && s_q == '0;
  assign block.last      = last_group && last_r && last_s;
  assign block.group_end = block.last && last_tile;
  assign block.bank      = bank_q;
  assign block.y         = y_q;
  assign block.x         = x_q;
  assign block.row       = row_q;
  assign block.pixel     = col_q + channel_q;
  assign block.lanes     = last_group ? run.in_lanes_last : 16'(LanesIn);

  assign read_valid_o   = issue && row_valid;
  assign read_address_o = address_q;
  assign is_constant_o  = issue && constants_q;
  assign is_weight_o    = issue && !constants_q;
  assign bank_o         = bank_q;
  assign idle_o         = !active_q && !block_valid_o;

  assign block_o        = block_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q      <= 1'b0;
      block_valid_o <= 1'b0;
      bank_q        <= 1'b0;
      banks_q       <= '0;
    end else begin
      banks_q <= banks_q + 2'(issue && constants_q && step_q == '0) - 2'(group_done_i);
      if (block_taken_i) block_valid_o <= 1'b0;
      if (block_done) begin
        block_valid_o <= 1'b1;
        if (passes_q == 32'd1) active_q <= 1'b0;
        if (block.group_end) bank_q <= ~bank_q;
      end
      if (start_i) active_q <= 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (issue) begin
      step_q <= step_last ? '0 : step_q + 16'd1;
      if (row_valid) address_q <= address_q + width;
      if (constants_q && step_last) begin
        constants_q     <= 1'b0;
        group_address_q <= address_q + width;
      end
    end
    if (block_done) begin
      block_q  <= block;
      passes_q <= passes_q - 32'd1;
      s_q      <= s_q + 16'd1;
      x_q      <= x_q + run.k_x_step;
      col_q    <= col_q + run.k_col_step;
      if (last_s) begin
        {s_q, x_q, col_q} <= '0;
        r_q   <= r_q + 16'd1;
        y_q   <= y_q + run.k_y_step;
        row_q <= row_q + run.k_row_step;
        if (last_r) begin
          {r_q, y_q, row_q} <= '0;
          group_q   <= group_q + 16'd1;
          channel_q <= channel_q + 32'(LanesIn);
          if (last_group) begin
            {group_q, channel_q} <= '0;
            tile_q      <= last_tile ? '0 : tile_q + 16'd1;
            constants_q <= last_tile;
            if (last_tile) left_q <= left_q - width;
            else           address_q <= group_address_q;
          end
        end
      end
    end
    if (start_i) begin
      {step_q, tile_q} <= '0;
      address_q   <= run.w_base;
      passes_q    <= run.passes;
      left_q      <= 32'(run.out_channels);
      constants_q <= run.first_group == '0 && run.first_r == '0 && run.first_s == '0;
      {group_q, channel_q} <= {run.first_group, 32'(run.first_group) * 32'(LanesIn)};
      {r_q, y_q, row_q}    <= {run.first_r, run.first_y, run.first_row};
      {s_q, x_q, col_q}    <= {run.first_s, run.first_x, run.first_col};
    end
  end
endmodule
`default_nettype wire
