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

  logic                  waits_q, free, follows;
  logic [31-OffsetBits:0] row, last_row_q;       // rows of the buffer; the last one of the access that is out
  logic [31:0]           address_q, address;
  logic [15:0]           bytes_q, bytes;
  logic [MoreBits-1:0]   more_q;
  logic [OffsetBits-1:0] offset;
  logic [Banks-1:0]      first, second;
  logic [IndexBits-1:0]  first_index, second_index;

  assign ready_o = !waits_q;
  assign idle_o  = !waits_q && !valid_o;
  assign free    = !valid_o || grant_i;
  assign address = waits_q ? address_q : address_i;
  assign bytes   = waits_q ? bytes_q : bytes_i;
  assign row     = address[31:OffsetBits];
  assign follows = Keeps && valid_o && row == last_row_q;      // where free: what was there leaves now

  fe_bank_address #(
    .RowBytes(RowBytes), .Banks(Banks), .PageRows(PageRows), .Pages(Pages), .Complete(Complete),
    .IndexBits(IndexBits)
  ) u_address (
    .address_i      (address),
    .bytes_i        (bytes),
    .offset_o       (offset),
    .first_o        (first),
    .second_o       (second),
    .first_index_o  (first_index),
    .second_index_o (second_index)
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
    if (!waits_q) {address_q, bytes_q, more_q} <= {address_i, bytes_i, more_i};
    if (free) begin
      {offset_o, first_o, second_o}   <= {offset, first, second};
      follows_o                       <= follows;
      wants_o                         <= follows ? second : first | second;
      last_row_q                      <= second == '0 ? row : row + 1'b1;
      {first_index_o, second_index_o} <= {first_index, second_index};
      bytes_o                         <= bytes;
      more_o                          <= waits_q ? more_q : more_i;
    end
  end
endmodule
`default_nettype wire
