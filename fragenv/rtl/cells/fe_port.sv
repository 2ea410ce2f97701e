// fe_port - where accesses enter the tensor buffer: one waits here, decoded, until its banks are free.
//
// In        : valid_i, ready_o; address_i, bytes_i and what else belongs to the access (more_i).
// Out       : valid_o with the access's banks (fe_bank_address) and more_o; it leaves where grant_i is 1.
//             follows_o: its first row is the last one of the access that left in the cycle before it came. Only with
//             Keeps: the user has that row, and wants_o is without its bank.
// Latency   : 1 cycle.  Throughput: 1 access per cycle. ready_o is a register: a second access may wait.
// Reset     : synchronous, active low.
// Does not  : change the order of accesses.
`default_nettype none
module fe_port #(
  parameter int RowBytes  = 16,
  parameter int Banks     = 8,
  parameter int PageRows  = 512,
  parameter int Pages     = 1,
  parameter bit Complete  = 1'b0,
  parameter int IndexBits = 9,
  parameter bit Keeps     = 1'b0,
  parameter int MoreBits  = 1
) (
  input  wire                         clk_i,
  input  wire                         rst_ni,
  input  wire                         valid_i,
  output logic                        ready_o,
  input  wire  [31:0]                 address_i,
  input  wire  [15:0]                 bytes_i,
  input  wire  [MoreBits-1:0]         more_i,
  output logic                        valid_o,
  input  wire                         grant_i,
  output logic [$clog2(RowBytes)-1:0] offset_o,
  output logic [Banks-1:0]            first_o,
  output logic [Banks-1:0]            second_o,
  output logic [Banks-1:0]            wants_o,
  output logic [IndexBits-1:0]        first_index_o,
  output logic [IndexBits-1:0]        second_index_o,
  output logic                        follows_o,
  output logic [15:0]                 bytes_o,
  output logic [MoreBits-1:0]         more_o,
  output logic                        idle_o         // no access waits
);
  localparam int OffsetBits = $clog2(RowBytes);
  localparam int RowBits    = $clog2(Banks) + IndexBits;     // as in fe_bank_address

  typedef struct packed {
    logic [RowBits-1:0]    row;                  // of the buffer, its first one
    logic [OffsetBits-1:0] offset;
    logic                  crosses;              // the next row is touched
    logic [Banks-1:0]      first, second;
    logic [IndexBits-1:0]  first_index, second_index;
    logic [15:0]           bytes;
    logic [MoreBits-1:0]   more;
  } access_t;

  logic               waits_q, free, follows;
  logic [RowBits-1:0] last_row_q;                // the last row of the access that is out
  access_t            arrives, waiting_q, next;

  assign ready_o = !waits_q;
  assign idle_o  = !waits_q && !valid_o;
  assign free    = !valid_o || grant_i;
  assign next    = waits_q ? waiting_q : arrives;
  assign follows = Keeps && valid_o && next.row == last_row_q;      // where free: what was there leaves now

  // decoded before it waits, so that nothing is left to do when it leaves
  assign arrives.row   = RowBits'(address_i >> OffsetBits);
  assign arrives.bytes = bytes_i;
  assign arrives.more  = more_i;

  fe_bank_address #(
    .RowBytes(RowBytes), .Banks(Banks), .PageRows(PageRows), .Pages(Pages), .Complete(Complete),
    .IndexBits(IndexBits)
  ) u_address (
    .address_i      (address_i),
    .bytes_i        (bytes_i),
    .offset_o       (arrives.offset),
    .first_o        (arrives.first),
    .second_o       (arrives.second),
    .first_index_o  (arrives.first_index),
    .second_index_o (arrives.second_index),
    .crosses_o      (arrives.crosses)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {waits_q, valid_o} <= '0;
    end else begin
      waits_q <= !free && (waits_q || valid_i);
      if (free) valid_o <= waits_q || valid_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!waits_q) waiting_q <= arrives;
    if (free) begin
      offset_o       <= next.offset;
      first_o        <= next.first;
      second_o       <= next.second;
      wants_o        <= follows ? next.second : next.first | next.second;
      follows_o      <= follows;
      last_row_q     <= next.row + RowBits'(next.crosses);
      first_index_o  <= next.first_index;
      second_index_o <= next.second_index;
      bytes_o        <= next.bytes;
      more_o         <= next.more;
    end
  end
endmodule
`default_nettype wire
