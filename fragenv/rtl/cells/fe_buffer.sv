// fe_buffer - the tensor buffer: byte-addressed SRAM that all units use at the same time.
//
// Port p of the readers takes ReadBytes[16*p+:16] bytes from any byte address; writers put any number
// of bytes, up to their port's width, to any byte address. Ports never wait for each other.
// Latency  : data come 1 cycle after valid; a read sees writes of earlier cycles.
// Throughput: 1 access per port and cycle.  Reset: none; contents are undefined at power-up.
// Does not : arbitrate: two writers never have the same byte (the memory map gives each its own place).
//            It is a model of the port behaviour; pages of banked SRAM take its place in silicon.
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
  input  wire  [Readers-1:0]              read_valid_i,
  input  wire  [32*Readers-1:0]           read_address_i,
  output logic [8*MaxBytes*Readers-1:0]   read_data_o,
  input  wire  [Writers-1:0]              write_valid_i,
  input  wire  [32*Writers-1:0]           write_address_i,
  input  wire  [16*Writers-1:0]           write_bytes_i,
  input  wire  [8*MaxBytes*Writers-1:0]   write_data_i,
  output logic                            error_o            // an access began outside of the buffer
);
  localparam int AddressBits = $clog2(Bytes);

  logic [7:0] mem [Bytes];

  always_ff @(posedge clk_i) begin
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
      always_ff @(posedge clk_i) begin
        if (read_valid_i[p]) begin
          read_data_o[8*(MaxBytes*p+i)+:8] <= mem[AddressBits'(read_address_i[32*p+:32] + 32'(i))];
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
        if (write_valid_i[p] && 16'(i) < write_bytes_i[16*p+:16] && 16'(i) < WriteBytes[16*p+:16]) begin
          mem[AddressBits'(write_address_i[32*p+:32] + 32'(i))] <= write_data_i[8*(MaxBytes*p+i)+:8];
        end
      end
    end
  end
endmodule
`default_nettype wire
