// fe_config - the configuration port: streams a fragment's configuration in and then lets it run.
//
// Port      : request_o asks for request_bytes_o bytes from request_address_o on; beats come at the
//             port's own pace, answer_bytes_i bytes at answer_valid_i.
// Control   : start_i begins the BIND of config_i, which stays stable until done_o (one cycle). Evicted
//             fragments lose their bit of bound_o at the start, the new one gets it at the end.
// Cycles    : the port's beats, and 2.
// Reset     : synchronous, active low, to the fragments of the first configuration.
// Does not  : interpret the configuration.
`default_nettype none
module fe_config #(
  parameter int Fragments = 1,
  parameter logic [15:0] PowerUp = 16'd1,    // fragments that are bound at power-up
  parameter int RecordBits = 128
) (
  input  wire                   clk_i,
  input  wire                   rst_ni,
  input  wire                   start_i,
  input  wire  [RecordBits-1:0] config_i,
  output logic                  done_o,
  output logic                  request_o,
  output logic [31:0]           request_address_o,
  output logic [31:0]           request_bytes_o,
  input  wire                   answer_valid_i,
  input  wire  [15:0]           answer_bytes_i,
  output logic [Fragments-1:0]  bound_o
);
  `include "fe_config_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  config_record_t record;                    // bits of fragments that this chip does not have
  // verilator lint_on UNUSEDSIGNAL
  assign record = config_i;

  logic        busy_q;
  logic [31:0] left_q;

  assign request_o         = start_i;
  assign request_address_o = record.address;
  assign request_bytes_o   = record.bytes;
  assign done_o            = busy_q && answer_valid_i && 32'(answer_bytes_i) >= left_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q  <= 1'b0;
      bound_o <= PowerUp[Fragments-1:0];
    end else begin
      busy_q <= start_i || (busy_q && !done_o);
      if (start_i) begin
        for (int f = 0; f < Fragments; f++) if (record.evicted[f]) bound_o[f] <= 1'b0;
      end
      if (done_o) begin
        for (int f = 0; f < Fragments; f++) if (record.fragment == 16'(f)) bound_o[f] <= 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i)             left_q <= record.bytes;
    else if (answer_valid_i) left_q <= left_q - 32'(answer_bytes_i);
  end
endmodule
`default_nettype wire
