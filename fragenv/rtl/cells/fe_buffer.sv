// fe_buffer - interim
`default_nettype none
module fe_buffer #(
  parameter int Bytes = 1024,
  parameter int Readers = 1,
  parameter int Writers = 1,
  parameter int MaxBytes = 16,                               // the widest port
  parameter logic [16*Readers-1:0] ReadBytes  = {Readers{16'd16}},
  parameter logic [16*Writers-1:0] WriteBytes = {Writers{16'd16}}
) (
  input  wire                             clk_i,
  // verilator lint_off UNUSEDSIGNAL
  input  wire                             rst_ni,
  // verilator lint_on UNUSEDSIGNAL
  input  wire  [Readers-1:0]              read_valid_i,
  output logic [Readers-1:0]              read_ready_o,
  input  wire  [32*Readers-1:0]           read_address_i,
  output logic [8*MaxBytes*Readers-1:0]   read_data_o,
  input  wire  [Writers-1:0]              write_valid_i,
  output logic [Writers-1:0]              write_ready_o,
  input  wire  [32*Writers-1:0]           write_address_i,
  input  wire  [16*Writers-1:0]           write_bytes_i,
  input  wire  [8*MaxBytes*Writers-1:0]   write_data_i,
  output logic                            error_o            // an access began outside of the buffer
);
  localparam int AddressBits = $clog2(Bytes);

  logic [7:0] mem [Bytes];
  logic [8*MaxBytes*Readers-1:0] first_q;
  logic [15:0] lfsr_q;
  `ifdef FE_STALL
  assign read_ready_o = lfsr_q[Readers-1:0] | {Readers{lfsr_q[15]}};
  assign write_ready_o = lfsr_q[8+:Writers] | {Writers{lfsr_q[14]}};
  `else
  assign read_ready_o = '1;
  assign write_ready_o = '1;
  `endif

  always_ff @(posedge clk_i) begin
    lfsr_q <= !rst_ni ? 16'hACE1 : {lfsr_q[14:0], lfsr_q[15] ^ lfsr_q[13] ^ lfsr_q[12] ^ lfsr_q[10]};
    error_o <= 1'b0;
    for (int p = 0; p < Readers; p++) begin
      if (read_valid_i[p] && read_address_i[32*p+:32] >= 32'(Bytes)) error_o <= 1'b1;
    end
    for (int p = 0; p < Writers; p++) begin
      if (write_valid_i[p] && write_address_i[32*p+:32] + 32'(write_bytes_i[16*p+:16]) > 32'(Bytes)) error_o <= 1'b1;
    end
  end

  for (genvar p = 0; p < Readers; p++) begin : gen_read
    localparam int Width = 32'(ReadBytes[16*p+:16]);

    for (genvar i = 0; i < Width; i++) begin : gen_byte
      if (p == 0) begin : gen_dma
        always_ff @(posedge clk_i) if (read_valid_i[p]) read_data_o[8*(MaxBytes*p+i)+:8] <= mem[AddressBits'(read_address_i[32*p+:32] + 32'(i))];
      end else begin : gen_other
      always_ff @(posedge clk_i) begin
        first_q[8*(MaxBytes*p+i)+:8] <= read_valid_i[p] && read_ready_o[p] ? mem[AddressBits'(read_address_i[32*p+:32] + 32'(i))] : 8'hxx;
        read_data_o[8*(MaxBytes*p+i)+:8] <= first_q[8*(MaxBytes*p+i)+:8];
      end
      end
    end
    if (Width < MaxBytes) begin : gen_unused
      assign read_data_o[8*(MaxBytes*p+Width)+:8*(MaxBytes-Width)] = '0;
    end
  end

  always_ff @(posedge clk_i) begin
    for (int p = 0; p < Writers; p++) begin
      for (int i = 0; i < MaxBytes; i++) begin
        if (write_valid_i[p] && (p == 0 || write_ready_o[p]) && 16'(i) < write_bytes_i[16*p+:16] && 16'(i) < WriteBytes[16*p+:16]) begin
          mem[AddressBits'(write_address_i[32*p+:32] + 32'(i))] <= write_data_i[8*(MaxBytes*p+i)+:8];
        end
      end
    end
  end
endmodule
`default_nettype wire
