// fe_drain - empties finished halves of the accumulators through the requantiser.
//
// Control   : finish_valid_i says that the half finish_half_i holds pixels 0 .. finish_pixel_i of final
//             sums, which use the constants of set finish_bank_i; halves finish in turns. half_free_o
//             gives a half back after its last read. busy_o: something is not written yet.
// Constants : c_valid_i shifts a row (one byte per lane) into set c_bank_i; eight rows make a set.
// Memory    : read_valid_o asks the accumulator, whose sums come 1 cycle later.
// Latency   : out_valid_o comes 5 cycles after its read.  Throughput: 1 pixel per cycle.
// Reset     : synchronous, active low.
// Does not  : know where outputs go.
`default_nettype none
module fe_drain #(
  parameter int Lanes  = 8,
  parameter int Pixels = 256
) (
  input  wire                        clk_i,
  input  wire                        rst_ni,
  input  wire                        finish_valid_i,
  input  wire                        finish_half_i,
  input  wire                        finish_bank_i,
  input  wire  [$clog2(Pixels)-1:0]  finish_pixel_i,
  output logic [1:0]                 half_free_o,
  output logic                       busy_o,
  input  wire                        c_valid_i,
  input  wire                        c_bank_i,
  input  wire  [8*Lanes-1:0]         c_data_i,
  output logic                       read_valid_o,
  output logic                       read_half_o,
  output logic [$clog2(Pixels)-1:0]  read_pixel_o,
  input  wire  [32*Lanes-1:0]        sums_i,
  input  wire  signed [15:0]         zero_i,
  input  wire  signed [15:0]         min_i,
  input  wire  signed [15:0]         max_i,
  output logic                       out_valid_o,
  output logic [8*Lanes-1:0]         out_data_o
);
  localparam int PixelBits = $clog2(Pixels);

  logic [1:0]           pending_q, bank_q;
  logic [PixelBits-1:0] last_q [2];
  logic [PixelBits-1:0] pixel_q;
  logic                 half_q, end_of_half;
  logic [4:0]           valid_q;
  logic [2:0]           used_bank_q;          // the set that each requantiser stage uses
  logic [64*Lanes-1:0]  constants [2];
  logic [64*Lanes-1:0]  used;

  assign read_valid_o = pending_q[half_q];
  assign read_half_o  = half_q;
  assign read_pixel_o = pixel_q;
  assign end_of_half  = read_valid_o && pixel_q == last_q[half_q];
  assign half_free_o  = {end_of_half && half_q, end_of_half && !half_q};
  assign busy_o       = |pending_q || |valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {half_q, valid_q} <= '0;
      pending_q <= '0;
    end else begin
      valid_q <= {valid_q[3:0], read_valid_o};
      if (end_of_half) begin
        pending_q[half_q] <= 1'b0;
        half_q            <= ~half_q;
      end
      if (finish_valid_i) pending_q[finish_half_i] <= 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    used_bank_q <= {used_bank_q[1:0], bank_q[half_q]};
    if (finish_valid_i) begin
      last_q[finish_half_i] <= finish_pixel_i;
      bank_q[finish_half_i] <= finish_bank_i;
    end
    if (!rst_ni || end_of_half) pixel_q <= '0;
    else if (read_valid_o)      pixel_q <= pixel_q + 1'b1;
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    logic [63:0] bank0_q, bank1_q;

    always_ff @(posedge clk_i) begin
      if (c_valid_i && !c_bank_i) bank0_q <= {c_data_i[8*i+:8], bank0_q[63:8]};
      if (c_valid_i && c_bank_i)  bank1_q <= {c_data_i[8*i+:8], bank1_q[63:8]};
    end
    assign constants[0][64*i+:64] = bank0_q;
    assign constants[1][64*i+:64] = bank1_q;
    // bias, multiplier and shift are used one cycle after the other
    assign used[64*i+:32]    = constants[used_bank_q[0]][64*i+:32];
    assign used[64*i+32+:24] = constants[used_bank_q[1]][64*i+32+:24];
    assign used[64*i+56+:8]  = constants[used_bank_q[2]][64*i+56+:8];
  end

  fe_requantise #(.Lanes(Lanes)) u_requantise (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .valid_i     (valid_q[0]),
    .sum_i       (sums_i),
    .constants_i (used),
    .zero_i      (zero_i),
    .min_i       (min_i),
    .max_i       (max_i),
    .valid_o     (out_valid_o),
    .data_o      (out_data_o)
  );
endmodule
`default_nettype wire
