// fe_accumulator - two halves of partial sums: one is added to while the other is read out.
//
// Adding  : add_valid_i with the half, the pixel and whether it starts from zero; its sums arrive at
//           sum_i AccumulatorLead = 2 cycles later. The same pixel may come again in the next cycle.
// Reading : read_valid_i with half and pixel; data_o holds the sums AccumulatorRead = 2 cycles later.
// Latency : a sum can be read 1 cycle after sum_i.  Throughput: 1 addition and 1 read per cycle.
// Reset   : the pipeline's valid bits only, synchronous, active low.  Numbers: int32, wrapping.
// Does not: arbitrate: adding to and reading from one half in the same cycle is the user's error.
`default_nettype none
module fe_accumulator #(
  parameter int Lanes  = 8,
  parameter int Pixels = 256            // pixels per half, a power of two
) (
  input  wire                       clk_i,
  input  wire                       rst_ni,
  input  wire                       add_valid_i,
  input  wire                       add_half_i,
  input  wire  [$clog2(Pixels)-1:0] add_pixel_i,
  input  wire                       add_first_i,
  input  wire  [32*Lanes-1:0]       sum_i,
  input  wire                       read_valid_i,
  input  wire                       read_half_i,
  input  wire  [$clog2(Pixels)-1:0] read_pixel_i,
  output logic [32*Lanes-1:0]       data_o
);
  localparam int PixelBits = $clog2(Pixels);

  // an addition goes through: 0 its place, 1 the old sums, 2 the new ones
  logic                 valid_q, valid_q2, half_q, half_q2, first_q, read_half_q;
  logic                 after_1_q, after_1_q2, after_2_q;
  logic [PixelBits-1:0] pixel_q, pixel_q2;
  logic [32*Lanes-1:0]  old_q, total, total_q;
  logic [32*Lanes-1:0]  rdata [2];      // block RAM is slow: a register follows before anything is added

  always_ff @(posedge clk_i) begin
    if (!rst_ni) {valid_q2, valid_q} <= '0;
    else         {valid_q2, valid_q} <= {valid_q, add_valid_i};
  end

  always_ff @(posedge clk_i) begin
    {half_q2, half_q}   <= {half_q, add_half_i};
    {pixel_q2, pixel_q} <= {pixel_q, add_pixel_i};
    first_q             <= add_first_i;
    // sums of the two additions before are not in the memory yet when it is read
    after_1_q  <= valid_q && half_q == add_half_i && pixel_q == add_pixel_i && !add_first_i;
    after_2_q  <= valid_q2 && half_q2 == add_half_i && pixel_q2 == add_pixel_i;
    after_1_q2 <= after_1_q;
    old_q      <= first_q ? '0 : after_2_q ? total_q : rdata[half_q];
    total_q    <= total;
    data_o     <= rdata[read_half_q];
    if (read_valid_i) read_half_q <= read_half_i;
  end

  always_comb begin
    for (int i = 0; i < Lanes; i++) begin
      total[32*i+:32] = (after_1_q2 ? total_q[32*i+:32] : old_q[32*i+:32]) + sum_i[32*i+:32];
    end
  end

  for (genvar h = 0; h < 2; h++) begin : gen_half
    (* no_rw_check *)
    logic [32*Lanes-1:0]  mem [Pixels];
    logic                 adds;
    logic [PixelBits-1:0] address;

    assign adds    = add_valid_i && add_half_i == 1'(h);
    assign address = adds ? add_pixel_i : read_pixel_i;

    always_ff @(posedge clk_i) begin
      if (adds || (read_valid_i && read_half_i == 1'(h))) rdata[h] <= mem[address];
      if (valid_q2 && half_q2 == 1'(h)) mem[pixel_q2] <= total;
    end
  end
endmodule
`default_nettype wire
