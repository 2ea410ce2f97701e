// fe_fetch - reads the window elements of a RUN and gives them out in order, padding included.
//
// Control   : the walk over the windows as in fe_source (load_i to end_o). valid_i asks for the element of this
//             cycle, with a tag; not where full_o is 1.
// Out       : valid_o, ready_i: the oldest element's tag; data_o where is_data_o is 1, else it is padding.
// Memory    : a reader port: valid held until ready; data come in order with a valid bit.
// Latency   : 4 + BufferLatency cycles where the memory does not stall, for padding as well.
// Throughput: 1 element per cycle.  Reset: synchronous, active low.
// Does not  : put a value in the place of padding.
`default_nettype none
module fe_fetch #(
  parameter int Lanes      = 8,          // bytes of an element
  parameter int TagBits    = 8,
  parameter int Parts      = 1,
  parameter int RunBits    = 960,
  parameter int SourceBits = 320
) (
  input  wire                clk_i,
  input  wire                rst_ni,
  input  wire [RunBits-1:0]  run_i,
  input  wire [SourceBits*Parts-1:0] sources_i,
  input  wire                load_i,
  input  wire                step_i,
  input  wire                leave_i,
  input  wire                mark_i,
  input  wire  [1:0]         part_i,
  input  wire  [15:0]        k_y_i,
  input  wire  [15:0]        k_x_i,
  input  wire  [31:0]        k_row_i,
  input  wire  [31:0]        k_pixel_i,
  output logic               end_o,
  input  wire                valid_i,
  input  wire  [TagBits-1:0] tag_i,
  output logic               full_o,
  output logic               read_valid_o,
  output logic [31:0]        read_address_o,
  input  wire                read_ready_i,
  input  wire                data_valid_i,
  input  wire  [8*Lanes-1:0] data_i,
  output logic               valid_o,
  input  wire                ready_i,
  output logic               is_data_o,
  output logic [TagBits-1:0] tag_o,
  output logic [8*Lanes-1:0] data_o,
  output logic               idle_o
);
  `include "fe_latencies.svh"
  localparam int Depth = 16;                         // a power of two, more than the cycles of the latency
  localparam int Bits  = $clog2(Depth) + 1;

  logic                     push, pop, pop_q, old_enough, data_there, in_bounds, head_valid, head_is_data;
  logic [TagBits-1:0]       head_tag;
  logic [8*Lanes-1:0]       head_data;
  // verilator lint_off UNUSEDSIGNAL
  logic                     tag_there, row_end;      // what is old enough is there; tiles do not end with rows
  // verilator lint_on UNUSEDSIGNAL
  logic [2:0]               valid_q;                 // while the address is computed
  logic [TagBits-1:0]       tag_q [3];
  logic [31:0]              address;
  logic [Bits-1:0]          count_q, old_q;          // asked for, until a cycle after they left; those that may leave
  logic [BufferLatency-1:0] age_q;

  fe_source #(.Parts(Parts), .SourceBits(SourceBits), .RunBits(RunBits)) u_source (
    .clk_i     (clk_i),
    .run_i     (run_i),
    .sources_i (sources_i),
    .load_i    (load_i),
    .step_i    (step_i),
    .leave_i   (leave_i),
    .mark_i    (mark_i),
    .part_i    (part_i),
    .k_y_i     (k_y_i),
    .k_x_i     (k_x_i),
    .k_row_i   (k_row_i),
    .k_pixel_i (k_pixel_i),
    .address_o (address),
    .inside_o  (in_bounds),
    .row_end_o (row_end),
    .end_o     (end_o)
  );

  assign full_o     = count_q[Bits-1];
  assign push       = valid_q[2];
  assign old_enough = old_q != '0 || age_q[BufferLatency-1];
  assign head_valid = old_enough && (!head_is_data || data_there);
  assign pop        = head_valid && (!valid_o || ready_i);
  assign idle_o     = count_q == '0 && !valid_o;

  always_ff @(posedge clk_i) begin
    tag_q[0] <= tag_i;
    tag_q[1] <= tag_q[0];
    tag_q[2] <= tag_q[1];
    if (pop) {is_data_o, tag_o, data_o} <= {head_is_data, head_tag, head_data};
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {valid_q, count_q, old_q, age_q, pop_q, valid_o} <= '0;
    end else begin
      valid_o <= head_valid || (valid_o && !ready_i);
      valid_q <= {valid_q[1:0], valid_i};
      count_q <= count_q + Bits'(valid_i) - Bits'(pop_q);
      pop_q   <= pop;
      old_q   <= old_q + Bits'(age_q[BufferLatency-1]) - Bits'(pop);
      age_q   <= BufferLatency'({age_q, push});
    end
  end

  fe_fifo #(.Bits(32), .Depth(Depth)) u_requests (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (push && in_bounds),
    .data_i  (address),
    .valid_o (read_valid_o),
    .ready_i (read_ready_i),
    .data_o  (read_address_o)
  );

  fe_fifo #(.Bits(TagBits + 1), .Depth(Depth)) u_tags (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (push),
    .data_i  ({in_bounds, tag_q[2]}),
    .valid_o (tag_there),
    .ready_i (pop),
    .data_o  ({head_is_data, head_tag})
  );

  fe_fifo #(.Bits(8 * Lanes), .Depth(Depth)) u_data (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (data_valid_i),
    .data_i  (data_i),
    .valid_o (data_there),
    .ready_i (pop && head_is_data),
    .data_o  (head_data)
  );
endmodule
`default_nettype wire
