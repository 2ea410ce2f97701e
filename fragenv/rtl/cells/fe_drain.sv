// fe_drain - empties finished halves of the accumulators towards the requantiser.
//
// Control   : finish_valid_i says that the half finish_half_i holds pixels 0 .. finish_pixel_i of final
//             sums, which use the constants of set finish_bank_i, whose last use it is where finish_end_i is 1;
//             halves finish in turns. half_free_o gives a half back after its last read, group_done_o a set
//             of constants, which keeps its contents for AccumulatorRead cycles more. A pixel is read where
//             room_i is 1. busy_o: something is not read yet.
// Constants : c_valid_i shifts a row (one byte per lane) into set c_bank_i; eight rows make a set.
// Memory    : read_valid_o asks the accumulator, whose sums come AccumulatorRead cycles later, with valid_o and
//             constants_o.
// Latency   : AccumulatorRead cycles.  Throughput: 1 pixel per cycle.  Reset: synchronous, active low.
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
  input  wire                        finish_end_i,
  input  wire  [$clog2(Pixels)-1:0]  finish_pixel_i,
  output logic [1:0]                 half_free_o,
  output logic                       group_done_o,
  output logic                       busy_o,
  input  wire                        c_valid_i,
  input  wire                        c_bank_i,
  input  wire  [8*Lanes-1:0]         c_data_i,
  input  wire                        room_i,
  output logic                       read_valid_o,
  output logic                       read_half_o,
  output logic [$clog2(Pixels)-1:0]  read_pixel_o,
  output logic                       valid_o,
  output logic [64*Lanes-1:0]        constants_o
);
  `include "fe_latencies.svh"
  localparam int PixelBits = $clog2(Pixels);

  logic [1:0]           pending_q, bank_q, end_q;
  logic [PixelBits-1:0] last_q [2];
  logic [PixelBits-1:0] pixel_q;
  logic                 half_q, end_of_half;
  logic [AccumulatorRead-1:0] valid_q, used_bank_q;

  assign read_valid_o = pending_q[half_q] && room_i;
  assign read_half_o  = half_q;
  assign read_pixel_o = pixel_q;
  assign end_of_half  = read_valid_o && pixel_q == last_q[half_q];
  assign half_free_o  = {end_of_half && half_q, end_of_half && !half_q};
  assign busy_o       = pending_q != '0 || valid_q != '0;
  assign valid_o      = valid_q[AccumulatorRead-1];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {half_q, valid_q, group_done_o} <= '0;
      pending_q <= '0;
    end else begin
      valid_q      <= AccumulatorRead'({valid_q, read_valid_o});
      group_done_o <= end_of_half && end_q[half_q];
      if (end_of_half) begin
        pending_q[half_q] <= 1'b0;
        half_q            <= ~half_q;
      end
      if (finish_valid_i) pending_q[finish_half_i] <= 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    used_bank_q <= AccumulatorRead'({used_bank_q, bank_q[half_q]});
    if (finish_valid_i) begin
      last_q[finish_half_i] <= finish_pixel_i;
      bank_q[finish_half_i] <= finish_bank_i;
      end_q[finish_half_i]  <= finish_end_i;
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
    assign constants_o[64*i+:64] = used_bank_q[AccumulatorRead-1] ? bank1_q : bank0_q;
  end
endmodule
`default_nettype wire
