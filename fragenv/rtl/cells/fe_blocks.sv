// fe_blocks - reads the weight stream of a RUN block by block and says what each block is.
//
// The stream holds, per group of LanesOut output channels (never across groups of the convolution), 8
// rows of constants (one byte of each channel's 64 bits per row), then the blocks in the order part,
// input group, kernel row, kernel column; a block has a row per valid input lane, a row a byte per valid
// output lane. A depthwise block is one row. The blocks of an output group are read again for each pixel tile.
// Control   : start_i begins a RUN. block_valid_o: all rows of a block are on their way, and those of the block
//             before have had their cycles; block_taken_i takes it, and the next one's first row may be read in
//             the same cycle.
//             shifted_i: a row left the memory (at most RowsAhead) where weight rows wait for their turn.
//             group_done_i: the constants of an output group are used up.
// Memory    : reader port w: valid held until ready; data come in order. With data_valid_i, is_constant_o and
//             is_weight_o say what they are. row_valid_o: a row of weights was asked for, of a block of parity
//             row_odd_o; it has no data (row_real_o = 0) behind the last valid input lane.
// Latency   : the first row is asked for 1 cycle after start_i.  Throughput: 1 row per cycle.
// Reset     : synchronous, active low.
// Does not  : hold the weights, or know about pixels.
`default_nettype none
module fe_blocks #(
  parameter int LanesIn    = 8,
  parameter int LanesOut   = 8,
  parameter int Parts      = 1,
  parameter int RowsAhead  = 8,         // a power of two
  parameter int RunBits    = 960,
  parameter int SourceBits = 320
) (
  input  wire         clk_i,
  input  wire         rst_ni,
  input  wire         start_i,
  input  wire  [RunBits-1:0] run_i,       // stable while the RUN runs
  input  wire  [SourceBits*Parts-1:0] sources_i,
  input  wire         depthwise_i,
  // memory
  output logic        read_valid_o,
  output logic [31:0] read_address_o,
  input  wire         read_ready_i,
  input  wire         data_valid_i,
  output logic        is_constant_o,
  output logic        is_weight_o,
  output logic        bank_o,            // which of the two sets of constants
  output logic        row_valid_o,
  output logic        row_odd_o,
  output logic        row_real_o,
  input  wire         shifted_i,
  // the block that is ready
  output logic        block_valid_o,
  input  wire         block_taken_i,
  output logic [117:0] block_o,          // block_t below
  output logic        idle_o,            // all blocks are taken
  input  wire         group_done_i
);
  `include "fe_run_record.svh"
  `include "fe_source_record.svh"
  `include "fe_latencies.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t    run;                    // pixels and addresses are the business of others
  source_record_t source, source_next;
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;
  localparam int ConstantRows = 8;
  localparam int AheadBits    = $clog2(RowsAhead) + 1;     // the upper bit says that there is no more room
  localparam int RowBits      = $clog2((LanesIn > ConstantRows ? LanesIn : ConstantRows) + 1);

  typedef struct packed {
    logic        first;        // its sums start from zero
    logic        last;         // its sums are final
    logic        group_end;    // and it is the last pixel tile of its output group
    logic        bank;         // set of constants
    logic [1:0]  part;         // source that it reads
    logic [15:0] y, x;         // kernel offset, input rows and columns
    logic [31:0] row;          // bytes from a window's first row to this kernel row
    logic [31:0] pixel;        // bytes from its first column to this column and lane group
    logic [15:0] lanes;        // valid input lanes
  } block_t;

  // Flags of the row and the block in turn are in registers, and so counters count down to 1.
  typedef struct packed {
    logic s, r, group, part, tile;         // the last one
  } last_t;

  last_t               last_q, last_next;
  block_t              block_q, block;
  logic                active_q, constants_q, bank_q, odd_q, first_q, last_pass_q;
  logic                block_valid_q, coming, rows_past_q, rows_past;
  logic                block_last_q, group_end_q;
  logic                row_first_q, row_last_q, block_end_q, row_valid_q;
  logic [RowBits-1:0]  row_number_q;       // from 1
  logic [RowBits-1:0]  rows_left_q;        // cycles that the rows of the block that was taken may still need
  logic [1:0]          banks_q, part_q, part_next;         // banks: sets of constants in use
  logic [31:0]         address_q, group_address_q, passes_q, row_q, col_q, channel_q, base_q, base_next;
  logic [15:0]         s_left_q, r_left_q, groups_left_q, tiles_left_q, y_q, x_q, lanes, width;
  logic [AheadBits-1:0] ahead_q;           // weight rows asked for that were not shifted in yet
  logic                free, issue, stalled, one_row, block_done, rows_end, groups_end, group_done, conv_end, begins;
  // verilator lint_off UNUSEDSIGNAL
  logic                last_width;         // passes_q knows when the RUN ends
  // verilator lint_on UNUSEDSIGNAL

  // what is asked for, and what the memory brings
  logic        asked_q, constant_q, asked_bank_q, is_constant;
  // verilator lint_off UNUSEDSIGNAL
  logic        tag_there;                // data have one
  // verilator lint_on UNUSEDSIGNAL

  fe_fifo #(.Bits(2), .Depth(BufferFlight)) u_tags (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (read_valid_o && read_ready_i),
    .data_i  ({constant_q, asked_bank_q}),
    .valid_o (tag_there),
    .ready_i (data_valid_i),
    .data_o  ({is_constant, bank_o})
  );

  always_comb begin
    source      = sources_i[SourceBits-1:0];
    source_next = sources_i[SourceBits-1:0];
    for (int p = 1; p < Parts; p++) begin
      if (part_q == 2'(p))    source      = sources_i[SourceBits*p+:SourceBits];
      if (part_next == 2'(p)) source_next = sources_i[SourceBits*p+:SourceBits];
    end
  end

  assign stalled    = read_valid_o && !read_ready_i;
  assign free       = constants_q ? !row_first_q || !banks_q[1] : !ahead_q[AheadBits-1];
  assign issue      = active_q && (!block_valid_q || block_taken_i) && free && !stalled;
  assign one_row    = depthwise_i || LanesIn == 1;
  assign lanes      = depthwise_i ? 16'd1 : last_q.group ? source.in_lanes_last : 16'(LanesIn);
  assign block_done = issue && block_end_q;
  assign rows_end   = last_q.s && last_q.r;
  assign groups_end = rows_end && last_q.group;
  assign group_done = block_done && group_end_q;
  assign part_next  = start_i ? run.first_part[1:0] : last_q.part ? '0 : part_q + 2'd1;
  assign base_next  = conv_end ? base_q + 32'(run.group_step) : base_q;
  assign begins     = run.first_part == '0 && run.first_group == '0 && run.first_r == '0 && run.first_s == '0;

  assign block.first     = first_q;
  assign block.last      = block_last_q;
  assign block.group_end = group_end_q;
  assign block.bank      = bank_q;
  assign block.part      = part_q;
  assign block.y         = y_q;
  assign block.x         = x_q;
  assign block.row       = row_q;
  assign block.pixel     = col_q + channel_q;
  assign block.lanes     = lanes;

  always_comb begin
    last_next   = last_q;
    last_next.s = last_q.s ? run.k_cols == 16'd1 : s_left_q == 16'd2;
    if (last_q.s)     last_next.r     = last_q.r ? run.k_rows == 16'd1 : r_left_q == 16'd2;
    if (rows_end)     last_next.group = last_q.group ? source_next.in_groups == 16'd1 : groups_left_q == 16'd2;
    if (groups_end)   last_next.part  = Parts == 1 || 16'(part_next) + 16'd1 == run.parts;
    if (block_last_q) last_next.tile  = last_q.tile ? run.tiles == 16'd1 : tiles_left_q == 16'd2;
    if (start_i) begin
      last_next.s     = run.first_s + 16'd1 == run.k_cols;
      last_next.r     = run.first_r + 16'd1 == run.k_rows;
      last_next.group = run.first_group + 16'd1 == source_next.in_groups;
      last_next.part  = Parts == 1 || 16'(part_next) + 16'd1 == run.parts;
      last_next.tile  = run.tiles == 16'd1;
    end
  end

  fe_widths #(.Lanes(LanesOut)) u_widths (
    .clk_i      (clk_i),
    .load_i     (start_i),
    .step_i     (group_done),
    .total_i    (run.out_channels),
    .first_i    (run.first_left),
    .group_i    (run.group_channels),
    .width_o    (width),
    .last_o     (last_width),
    .conv_end_o (conv_end)
  );

  assign is_constant_o = data_valid_i && is_constant;
  assign is_weight_o   = data_valid_i && !is_constant;
  assign row_valid_o   = asked_q && !stalled && !constant_q;
  assign row_real_o    = read_valid_o;
  assign idle_o        = !active_q && !block_valid_q;
  assign coming        = block_done || (block_valid_q && !block_taken_i);
  assign rows_past     = block_taken_i ? one_row : rows_past_q || rows_left_q == RowBits'(1);
  assign block_o       = block_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {active_q, block_valid_q, block_valid_o, bank_q, odd_q, asked_q, read_valid_o} <= '0;
      rows_past_q <= 1'b1;
      {banks_q, ahead_q} <= '0;
    end else begin
      banks_q <= banks_q + 2'(issue && constants_q && row_first_q) - 2'(group_done_i);
      ahead_q <= ahead_q + AheadBits'(issue && !constants_q) - AheadBits'(shifted_i);
      block_valid_q <= coming;
      block_valid_o <= coming && rows_past;
      rows_past_q   <= rows_past;
      if (block_done) begin
        odd_q <= ~odd_q;
        if (last_pass_q) active_q <= 1'b0;
        if (group_end_q) bank_q <= ~bank_q;
      end
      if (start_i) active_q <= 1'b1;
      if (!stalled) begin
        asked_q      <= issue;
        read_valid_o <= issue && row_valid_q;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!stalled) begin
      read_address_o <= address_q;
      constant_q     <= constants_q;
      asked_bank_q   <= bank_q;
      row_odd_o      <= odd_q;
    end
    rows_left_q <= block_taken_i ? RowBits'(LanesIn - 1) : rows_left_q - 1'b1;
    if (issue) begin
      row_first_q  <= row_last_q;
      if (row_last_q) begin
        row_last_q  <= one_row && (constants_q || !group_end_q);
        block_end_q <= one_row && (constants_q || !group_end_q);
      end else begin
        row_last_q  <= row_number_q == RowBits'((constants_q ? ConstantRows : LanesIn) - 1);
        block_end_q <= row_number_q == RowBits'(LanesIn - 1) && !constants_q;
      end
      row_number_q <= row_last_q ? RowBits'(1) : row_number_q + 1'b1;
      row_valid_q  <= row_last_q || constants_q || 16'(row_number_q) < lanes;
      if (row_valid_q) address_q <= address_q + 32'(width);
      if (constants_q && row_last_q) begin
        constants_q     <= 1'b0;
        group_address_q <= address_q + 32'(width);
      end
    end
    if (block_done || start_i) begin
      last_q       <= last_next;
      block_last_q <= last_next.s && last_next.r && last_next.group && last_next.part;
      group_end_q  <= last_next == '1;
    end
    if (block_done) begin
      block_q     <= block;
      first_q     <= block_last_q;
      passes_q    <= passes_q - 32'd1;
      last_pass_q <= passes_q == 32'd2;
      s_left_q    <= s_left_q - 16'd1;
      x_q         <= x_q + run.k_x_step;
      col_q       <= col_q + source.k_col_step;
      if (last_q.s) begin
        {x_q, col_q} <= '0;
        s_left_q <= run.k_cols;
        r_left_q <= r_left_q - 16'd1;
        y_q      <= y_q + run.k_y_step;
        row_q    <= row_q + source.k_row_step;
      end
      if (rows_end) begin
        {y_q, row_q} <= '0;
        r_left_q      <= run.k_rows;
        groups_left_q <= groups_left_q - 16'd1;
        channel_q     <= channel_q + 32'(LanesIn);
      end
      if (groups_end) begin
        groups_left_q <= source_next.in_groups;
        channel_q     <= base_q;
        part_q        <= part_next;
      end
      if (block_last_q) begin
        tiles_left_q <= last_q.tile ? run.tiles : tiles_left_q - 16'd1;
        if (!last_q.tile) address_q <= group_address_q;
      end
      if (group_end_q) begin
        constants_q <= 1'b1;
        base_q      <= base_next;
        channel_q   <= base_next;
      end
    end
    if (start_i) begin
      address_q     <= run.w_base;
      passes_q      <= run.passes;
      last_pass_q   <= run.passes == 32'd1;
      constants_q   <= begins;
      first_q       <= begins;
      row_first_q   <= 1'b1;
      row_last_q    <= one_row && !begins;
      block_end_q   <= one_row && !begins;
      row_number_q  <= RowBits'(1);
      row_valid_q   <= 1'b1;
      base_q        <= '0;
      channel_q     <= 32'(run.first_group) * 32'(LanesIn);
      part_q        <= part_next;
      tiles_left_q  <= run.tiles;
      groups_left_q <= source_next.in_groups - run.first_group;
      r_left_q      <= run.k_rows - run.first_r;
      s_left_q      <= run.k_cols - run.first_s;
      {y_q, row_q}  <= {run.first_y, run.first_row};
      {x_q, col_q}  <= {run.first_x, run.first_col};
    end
  end
endmodule
`default_nettype wire
