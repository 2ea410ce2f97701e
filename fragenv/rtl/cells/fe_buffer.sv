// fe_buffer - the tensor buffer: byte-addressed, banked SRAM that all units use at the same time.
//
// Port p of the readers takes 1 to ReadBytes[16*p+:16] bytes from any byte address, port p of the
// writers puts 1 to WriteBytes[16*p+:16] bytes to any byte address. Rows of RowBytes bytes are spread over the banks
// (fe_bank_address), each of which reads a row and writes a row per cycle.
// Handshake : an access moves where valid and ready are 1; until then valid, address, bytes and data
//             stay. Accesses that meet in a bank wait inside for one another: urgent ports come before
//             others, none starves. Data of a read come with read_data_valid_o, for one cycle, in order.
// Latency   : data come BufferLatency cycles after the access moves, later where it waits; those beyond
//             the bytes asked for are undefined. At most BufferFlight reads of a port are under way.
//             A read sees the writes of a port that was idle (write_idle_o) before the read moved. Of a read
//             that follows another one at once, a row that both touch is read once.
// Throughput: 1 access per port and cycle where banks differ.
// Reset     : synchronous, active low; contents are undefined at power-up.
// Does not  : order writes to one byte: the memory map gives each writer its own place.
`default_nettype none
module fe_buffer #(
  parameter int Bytes    = 1024,
  parameter int Readers  = 1,
  parameter int Writers  = 1,
  parameter int MaxBytes = 16,                               // the widest port
  parameter int Banks    = 4,                                // a power of two, at least 2
  parameter int PageRows = 512,                              // depth of a block RAM of 32 bits
  parameter logic [Readers-1:0] Urgent = '0,                 // readers that come before the others
  parameter logic [16*Readers-1:0] ReadBytes  = {Readers{16'd16}},
  parameter logic [16*Writers-1:0] WriteBytes = {Writers{16'd16}}
) (
  input  wire                             clk_i,
  input  wire                             rst_ni,
  input  wire  [Readers-1:0]              read_valid_i,
  output logic [Readers-1:0]              read_ready_o,
  input  wire  [32*Readers-1:0]           read_address_i,
  input  wire  [16*Readers-1:0]           read_bytes_i,
  output logic [Readers-1:0]              read_data_valid_o,
  output logic [8*MaxBytes*Readers-1:0]   read_data_o,
  input  wire  [Writers-1:0]              write_valid_i,
  output logic [Writers-1:0]              write_ready_o,
  input  wire  [32*Writers-1:0]           write_address_i,
  input  wire  [16*Writers-1:0]           write_bytes_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire  [8*MaxBytes*Writers-1:0]   write_data_i,      // narrow ports leave their upper bytes unused
  // verilator lint_on UNUSEDSIGNAL
  output logic [Writers-1:0]              write_idle_o,      // no write waits
  output logic                            error_o            // an access began outside of the buffer
);
  localparam int RowBytes   = MaxBytes < 4 ? 4 : 1 << $clog2(MaxBytes);
  localparam int RowBits    = 8 * RowBytes;
  localparam int OffsetBits = $clog2(RowBytes);
  localparam int Rows       = (Bytes + RowBytes - 1) / RowBytes;
  localparam int PageSize   = Banks * PageRows;
  localparam int FullPages  = Rows / PageSize;
  localparam int Rest       = Rows - FullPages * PageSize;
  localparam int Pages      = FullPages + (Rest == 0 ? 0 : 1);
  localparam int UsedBanks  = 2 * ((Rest + 2 * PageRows - 1) / (2 * PageRows));   // of the last page
  localparam int IndexBits  = $clog2(Pages * PageRows);

  always_ff @(posedge clk_i) begin
    error_o <= 1'b0;
    for (int p = 0; p < Readers; p++) begin
      if (read_valid_i[p] && read_address_i[32*p+:32] >= 32'(Bytes)) error_o <= 1'b1;
    end
    for (int p = 0; p < Writers; p++) begin
      if (write_valid_i[p] && write_address_i[32*p+:32] + 32'(write_bytes_i[16*p+:16]) > 32'(Bytes)) error_o <= 1'b1;
    end
    if (!rst_ni) error_o <= 1'b0;
  end

  // ---- readers, cycle 0: decode; cycle 1: banks; cycle 2: memory ----
  logic [Readers-1:0]           r_valid, r_grant;
  logic [Banks*Readers-1:0]     r_first, r_second, r_wants, r_has;
  logic [IndexBits*Readers-1:0] r_first_index, r_second_index;
  logic [RowBits*Banks-1:0]     rows, rows_q;        // what each bank reads; a cycle later

  fe_bank_grant #(.Ports(Readers), .Banks(Banks), .Urgent(Urgent)) u_read_grant (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .valid_i (r_valid),
    .wants_i (r_wants),
    .ready_o (r_grant),
    .has_o   (r_has)
  );

  for (genvar p = 0; p < Readers; p++) begin : gen_reader
    localparam int Width = 32'(ReadBytes[16*p+:16]);
    // verilator lint_off UNUSEDSIGNAL
    logic [15:0]           bytes;                    // reads end nowhere
    logic                  more, idle;
    // verilator lint_on UNUSEDSIGNAL
    logic [OffsetBits-1:0] offset, row_offset, offset_q;
    logic [Banks-1:0]      first_bank;               // none where the row is kept
    logic [Banks-1:0]      row_first, row_second;    // banks whose rows come now
    logic                  follows, row_follows;     // the first row was the last one of the read before
    logic [4:0]            under_way_q;
    logic [RowBits-1:0]    lanes, first, second, met, met_q, kept_q;
    logic [8*Width-1:0]    data_q;

    fe_port #(
      .RowBytes(RowBytes), .Banks(Banks), .PageRows(PageRows), .Pages(Pages), .Complete(Rest == 0),
      .IndexBits(IndexBits), .Keeps(1'b1)
    ) u_port (
      .clk_i          (clk_i),
      .rst_ni         (rst_ni),
      .valid_i        (read_valid_i[p]),
      .ready_o        (read_ready_o[p]),
      .address_i      (read_address_i[32*p+:32]),
      .bytes_i        (read_bytes_i[16*p+:16]),
      .more_i         (1'b0),
      .valid_o        (r_valid[p]),
      .grant_i        (r_grant[p]),
      .offset_o       (offset),
      .first_o        (r_first[Banks*p+:Banks]),
      .second_o       (r_second[Banks*p+:Banks]),
      .wants_o        (r_wants[Banks*p+:Banks]),
      .first_index_o  (r_first_index[IndexBits*p+:IndexBits]),
      .second_index_o (r_second_index[IndexBits*p+:IndexBits]),
      .follows_o      (follows),
      .bytes_o        (bytes),
      .more_o         (more),
      .idle_o         (idle)
    );

    assign first_bank = follows ? '0 : r_first[Banks*p+:Banks];

    // from the grant: a register before the bank, the bank, a register behind it
    fe_delay #(.Bits(2 * Banks + OffsetBits + 1), .Steps(3)) u_row (
      .clk_i   (clk_i),
      .value_i ({first_bank, r_second[Banks*p+:Banks], offset, follows}),
      .value_o ({row_first, row_second, row_offset, row_follows})
    );

    // ---- cycle 4: lanes from the offset on come from the first row, the others from the next ----
    assign lanes = {RowBits{1'b1}} << {row_offset, 3'b000};

    always_comb begin
      first  = row_follows ? kept_q : '0;
      second = '0;
      for (int b = 0; b < Banks; b++) begin
        if (row_first[b])  first  = first | rows_q[RowBits*b+:RowBits];
        if (row_second[b]) second = second | rows_q[RowBits*b+:RowBits];
      end
      met = (first & lanes) | (second & ~lanes);
    end

    // ---- cycle 5: the first byte moves to lane 0 ----
    always_ff @(posedge clk_i) begin
      offset_q <= row_offset;
      met_q    <= met;
      if (under_way_q[2]) kept_q <= row_second == '0 ? first : second;
      data_q   <= (8*Width)'({met_q, met_q} >> {offset_q, 3'b000});
      under_way_q <= rst_ni ? {under_way_q[3:0], r_valid[p] && r_grant[p]} : '0;
    end
    assign read_data_valid_o[p] = under_way_q[4];
    assign read_data_o[8*MaxBytes*p+:8*MaxBytes] = (8*MaxBytes)'(data_q);
  end

  // ---- writers, cycle 0: decode; cycle 1: banks; cycle 2: bytes move to their lanes; then the bank ----
  logic [Writers-1:0]            w_valid, w_grant;
  logic [Banks*Writers-1:0]      w_first, w_second, w_wants;
  // verilator lint_off UNUSEDSIGNAL
  logic [Banks*Writers-1:0]      w_has;                // a write that moves has all its banks
  // verilator lint_on UNUSEDSIGNAL
  logic [IndexBits*Writers-1:0]  w_first_index, w_second_index;
  logic [Banks*Writers-1:0]      w_first_q, w_second_q;
  logic [IndexBits*Writers-1:0]  w_first_index_q, w_second_index_q;
  logic [RowBits*Writers-1:0]    w_lanes;
  logic [2*RowBytes*Writers-1:0] w_enable_q;         // of the first row, then of the next

  fe_bank_grant #(.Ports(Writers), .Banks(Banks)) u_write_grant (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .valid_i (w_valid),
    .wants_i (w_wants),
    .ready_o (w_grant),
    .has_o   (w_has)
  );

  for (genvar p = 0; p < Writers; p++) begin : gen_writer
    localparam int Width = 32'(WriteBytes[16*p+:16]);
    logic [OffsetBits-1:0] offset, offset_q;
    // verilator lint_off UNUSEDSIGNAL
    logic [15:0]           count;                    // a row at most
    logic                  follows;
    // verilator lint_on UNUSEDSIGNAL
    logic [RowBytes-1:0]   bytes;                    // one bit per byte
    logic [8*Width-1:0]    data, data_q;
    logic                  moves;

    fe_port #(
      .RowBytes(RowBytes), .Banks(Banks), .PageRows(PageRows), .Pages(Pages), .Complete(Rest == 0),
      .IndexBits(IndexBits), .MoreBits(8 * Width)
    ) u_port (
      .clk_i          (clk_i),
      .rst_ni         (rst_ni),
      .valid_i        (write_valid_i[p]),
      .ready_o        (write_ready_o[p]),
      .address_i      (write_address_i[32*p+:32]),
      .bytes_i        (write_bytes_i[16*p+:16]),
      .more_i         (write_data_i[8*MaxBytes*p+:8*Width]),
      .valid_o        (w_valid[p]),
      .grant_i        (w_grant[p]),
      .offset_o       (offset),
      .first_o        (w_first[Banks*p+:Banks]),
      .second_o       (w_second[Banks*p+:Banks]),
      .wants_o        (w_wants[Banks*p+:Banks]),
      .first_index_o  (w_first_index[IndexBits*p+:IndexBits]),
      .second_index_o (w_second_index[IndexBits*p+:IndexBits]),
      .follows_o      (follows),
      .bytes_o        (count),
      .more_o         (data),
      .idle_o         (write_idle_o[p])
    );
    assign bytes = ~({RowBytes{1'b1}} << count[OffsetBits:0]);
    assign moves = rst_ni && w_valid[p] && w_grant[p];

    always_ff @(posedge clk_i) begin
      w_first_q[Banks*p+:Banks]              <= moves ? w_first[Banks*p+:Banks] : '0;
      w_second_q[Banks*p+:Banks]             <= moves ? w_second[Banks*p+:Banks] : '0;
      w_first_index_q[IndexBits*p+:IndexBits]  <= w_first_index[IndexBits*p+:IndexBits];
      w_second_index_q[IndexBits*p+:IndexBits] <= w_second_index[IndexBits*p+:IndexBits];
      offset_q <= offset;
      w_enable_q[2*RowBytes*p+:2*RowBytes]     <= {RowBytes'(0), bytes} << offset;
      data_q   <= data;
    end

    assign w_lanes[RowBits*p+:RowBits]        = RowBits'(({2{RowBits'(data_q)}} << {offset_q, 3'b000}) >> RowBits);
  end

  // ---- banks ----
  for (genvar b = 0; b < Banks; b++) begin : gen_bank
    localparam int Depth = FullPages * PageRows + (Rest != 0 && b < UsedBanks ? PageRows : 0);
    logic                 reads, writes;
    logic [IndexBits-1:0] read_index, write_index;
    logic [RowBytes-1:0]  enable;
    logic [RowBits-1:0]   data;
    logic                 bank_reads, bank_writes;
    logic [IndexBits-1:0] bank_read_index, bank_write_index;
    logic [RowBytes-1:0]  bank_enable;
    logic [RowBits-1:0]   bank_data;

    always_comb begin
      reads      = 1'b0;
      read_index = '0;
      for (int p = 0; p < Readers; p++) begin
        if (r_valid[p] && r_has[Banks*p+b]) begin
          reads      = 1'b1;
          read_index = read_index | (r_first[Banks*p+b] ? r_first_index[IndexBits*p+:IndexBits]
                                                        : r_second_index[IndexBits*p+:IndexBits]);
        end
      end
    end

    always_comb begin
      writes      = 1'b0;
      write_index = '0;
      enable      = '0;
      data        = '0;
      for (int p = 0; p < Writers; p++) begin
        if (w_first_q[Banks*p+b] || w_second_q[Banks*p+b]) begin
          writes      = 1'b1;
          write_index = write_index | (w_first_q[Banks*p+b] ? w_first_index_q[IndexBits*p+:IndexBits]
                                                            : w_second_index_q[IndexBits*p+:IndexBits]);
          enable      = enable | (w_first_q[Banks*p+b] ? w_enable_q[2*RowBytes*p+:RowBytes]
                                                       : w_enable_q[2*RowBytes*p+RowBytes+:RowBytes]);
          data        = data | w_lanes[RowBits*p+:RowBits];
        end
      end
    end

    // registers before and behind the bank, whose memories lie all over the chip
    always_ff @(posedge clk_i) begin
      rows_q[RowBits*b+:RowBits]                            <= rows[RowBits*b+:RowBits];
      {bank_reads, bank_read_index}                         <= {reads, read_index};
      {bank_writes, bank_write_index, bank_enable, bank_data} <= {writes, write_index, enable, data};
    end

    if (Depth > 0) begin : gen_rows
      fe_bank #(.RowBytes(RowBytes), .Rows(Depth), .IndexBits(IndexBits)) u_bank (
        .clk_i          (clk_i),
        .read_valid_i   (bank_reads),
        .read_index_i   (bank_read_index),
        .read_data_o    (rows[RowBits*b+:RowBits]),
        .write_valid_i  (bank_writes),
        .write_index_i  (bank_write_index),
        .write_enable_i (bank_enable),
        .write_data_i   (bank_data)
      );
    end else begin : gen_no_rows
      // verilator lint_off UNUSEDSIGNAL
      wire unused = ^{bank_reads, bank_read_index, bank_writes, bank_write_index, bank_enable, bank_data};
      // verilator lint_on UNUSEDSIGNAL
      assign rows[RowBits*b+:RowBits] = '0;
    end
  end
endmodule
`default_nettype wire
