// fe_bank_address - which banks an access to the tensor buffer touches, and where in them.
//
// The buffer is a sequence of rows of RowBytes bytes, a power of two. An access takes up to RowBytes
// bytes from any byte on, so it touches a row or two rows, which lie in different banks. Rows come in
// pages of Banks * PageRows: row r of a page lies in bank r + r / Banks + r / Banks^2 mod Banks (a skew, so
// that pixels a power of two apart do not all lie in one bank). The rows that are left over after the whole
// pages go to as many pairs of banks as they need, so that no bank is larger than it
// must be: row r to bank 2 * (r / (2 * PageRows)) + r mod 2.
// Latency  : outputs follow their inputs in the same cycle.  Reset: none.
// Does not : check that the access lies in the buffer.
`default_nettype none
module fe_bank_address #(
  parameter int RowBytes  = 16,
  parameter int Banks     = 8,          // a power of two, at least 2
  parameter int PageRows  = 512,        // rows of a bank in a page, a power of two
  parameter int Pages     = 1,          // the incomplete one included
  parameter bit Complete  = 1'b0,       // the last page is a whole one
  parameter int IndexBits = 9
) (
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [31:0]                 address_i,      // upper bits: outside of the buffer
  // verilator lint_on UNUSEDSIGNAL
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [15:0]                 bytes_i,        // 1 to RowBytes
  // verilator lint_on UNUSEDSIGNAL
  output logic [$clog2(RowBytes)-1:0] offset_o,       // of the first byte in the first row
  output logic [Banks-1:0]            first_o,        // the bank of the first row, one bit
  output logic [Banks-1:0]            second_o,       // that of the next row; 0 where it is not touched
  output logic [IndexBits-1:0]        first_index_o,
  output logic [IndexBits-1:0]        second_index_o,
  output logic                        crosses_o       // the next row is touched
);
  localparam int OffsetBits = $clog2(RowBytes);
  localparam int BankBits   = $clog2(Banks);
  localparam int DepthBits  = $clog2(PageRows);
  localparam int RowBits    = BankBits + IndexBits;

  logic [RowBits-1:0]  row, next;
  logic [BankBits-1:0] first_bank, second_bank, skewed, step;
  logic                first_last, second_last;

  assign offset_o  = address_i[OffsetBits-1:0];
  assign row       = RowBits'(address_i >> OffsetBits);
  assign next      = row + 1'b1;
  assign crosses_o = (OffsetBits + 2)'(offset_o) + (OffsetBits + 2)'(bytes_i) > (OffsetBits + 2)'(RowBytes);

  assign first_last  = !Complete && 32'(row >> (BankBits + DepthBits)) == 32'(Pages - 1);
  assign second_last = !Complete && 32'(next >> (BankBits + DepthBits)) == 32'(Pages - 1);

  // in the incomplete page the bits of a row's number change places
  assign first_bank     = first_last  ? BankBits'({row >> (DepthBits + 1), row[0]}) : skewed;
  assign second_bank    = second_last ? BankBits'({next >> (DepthBits + 1), next[0]}) : skewed + step;
  assign first_index_o  = place(row, first_last);
  assign second_index_o = place(next, second_last);
  assign first_o        = Banks'(1) << first_bank;
  assign second_o       = crosses_o ? Banks'(1) << second_bank : '0;

  // From one row to the next a bank's number grows by 1, 2 or 3, hence not with two banks: 1, and the
  // carries into the parts that are added. So the second bank does not wait for the next row's number.
  if (Banks > 2) begin : gen_skew
    localparam bit Thrice = RowBits > 2 * BankBits;
    logic carry, carry_on;
    assign carry    = &row[BankBits-1:0];
    assign carry_on = Thrice && carry && BankBits'(row >> BankBits) == '1;
    assign skewed   = row[BankBits-1:0] + BankBits'(row >> BankBits) + BankBits'(row >> (2 * BankBits));
    assign step     = BankBits'(1) + BankBits'(carry) + BankBits'(carry_on);
  end else begin : gen_no_skew
    assign skewed = row[0];
    assign step   = 1'b1;
  end

  function automatic logic [IndexBits-1:0] place(input logic [RowBits-1:0] number, input logic last);
    place = IndexBits'(number >> BankBits);
    if (last) place[DepthBits-1:0] = DepthBits'(number >> 1);
  endfunction
endmodule
`default_nettype wire
