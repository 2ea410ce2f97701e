// fe_residual - fetches the tensor that is added to a RUN's outputs, ahead of them and in their order.
//
// Control   : load_i starts with the record's residual. room_o: for one more output than were reserved
//             (reserve_i) the data are here. data_o is the oldest that was not popped (pop_i).
// Memory    : reader port r: valid held until ready; data come in order with a valid bit.
// Throughput: 1 vector per cycle.  Reset: synchronous, active low.
// Does not  : add.
`default_nettype none
module fe_residual #(
  parameter int Lanes        = 8,
  parameter int RunBits      = 960,
  parameter int SourceBits   = 320,
  parameter int ResidualBits = 384
) (
  input  wire                    clk_i,
  input  wire                    rst_ni,
  input  wire [RunBits-1:0]      run_i,
  input  wire [ResidualBits-1:0] residual_i,
  input  wire                    pixels_first_i,
  input  wire                    load_i,
  output logic                   room_o,
  input  wire                    reserve_i,
  input  wire                    pop_i,
  output logic [8*Lanes-1:0]     data_o,
  output logic                   read_valid_o,
  output logic [31:0]            read_address_o,
  input  wire                    read_ready_i,
  input  wire                    data_valid_i,
  input  wire [8*Lanes-1:0]      data_i
);
  `include "fe_source_record.svh"
  `include "fe_residual_record.svh"
  localparam int Depth = 32;
  localparam int Bits  = $clog2(Depth) + 1;

  // verilator lint_off UNUSEDSIGNAL
  residual_record_t residual;             // the arithmetic is the business of others
  logic [15:0]      bytes;                // a vector is read whole
  logic             idle, ready;
  // verilator lint_on UNUSEDSIGNAL
  source_record_t   place;
  logic             place_valid, moves;
  logic [Bits-1:0]  asked_q, here_q;      // not popped yet; arrived and not reserved yet

  assign residual = residual_i;
  always_comb begin
    place            = '0;
    place.base       = residual.base;
    place.ring       = residual.ring;
    place.row0       = residual.row0;
    place.row_step   = residual.row_step;
    place.col_step   = residual.col_step;
    place.frame_step = residual.frame_step;
  end

  fe_places #(.Lanes(Lanes), .RunBits(RunBits), .SourceBits(SourceBits)) u_places (
    .clk_i          (clk_i),
    .rst_ni         (rst_ni),
    .run_i          (run_i),
    .place_i        (place),
    .pixels_first_i (pixels_first_i),
    .load_i         (load_i && residual.on[0]),
    .take_i         (moves),
    .valid_o        (place_valid),
    .address_o      (read_address_o),
    .bytes_o        (bytes),
    .idle_o         (idle)
  );

  assign read_valid_o = place_valid && !asked_q[Bits-1];     // Depth alone has that bit
  assign moves        = read_valid_o && read_ready_i;
  assign room_o       = here_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {asked_q, here_q} <= '0;
    end else begin
      asked_q <= asked_q + Bits'(moves) - Bits'(pop_i);
      here_q  <= here_q + Bits'(data_valid_i) - Bits'(reserve_i);
    end
  end

  fe_fifo #(.Bits(8 * Lanes), .Depth(Depth)) u_fifo (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (data_valid_i),
    .data_i  (data_i),
    .valid_o (ready),
    .ready_i (pop_i),
    .data_o  (data_o)
  );
endmodule
`default_nettype wire
