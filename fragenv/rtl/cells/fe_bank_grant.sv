// fe_bank_grant - shares the banks of the tensor buffer among ports that may want two banks at once.
//
// A port moves in a cycle in which no valid port before it wants one of its banks. The first port
// changes every cycle, so every port comes first in turn and none starves.
// Latency  : outputs follow their inputs in the same cycle.  Reset: synchronous, active low.
// Does not : give a bank to a port behind one that waits for another bank.
`default_nettype none
module fe_bank_grant #(
  parameter int Ports = 2,
  parameter int Banks = 8
) (
  input  wire                    clk_i,
  input  wire                    rst_ni,
  input  wire  [Ports-1:0]       valid_i,
  input  wire  [Banks*Ports-1:0] wants_i,     // banks of each port
  output logic [Ports-1:0]       ready_o,     // the port has all its banks
  output logic [Banks*Ports-1:0] has_o        // banks that the port has of those that it wants
);
  logic [15:0] first_q;                       // the port that comes first

  always_ff @(posedge clk_i) begin
    if (!rst_ni) first_q <= '0;
    else         first_q <= first_q == 16'(Ports - 1) ? '0 : first_q + 16'd1;
  end

  for (genvar p = 0; p < Ports; p++) begin : gen_port
    logic [Banks-1:0] taken;

    always_comb begin
      taken = '0;
      for (int q = 0; q < Ports; q++) begin
        // q comes before p where the turn from first_q on meets q earlier
        if (q != p && valid_i[q] && ((q < p) != (first_q > 16'(q < p ? q : p) && first_q <= 16'(q < p ? p : q)))) begin
          taken = taken | wants_i[Banks*q+:Banks];
        end
      end
    end
    assign has_o[Banks*p+:Banks] = wants_i[Banks*p+:Banks] & ~taken;
    assign ready_o[p]            = (wants_i[Banks*p+:Banks] & taken) == '0;
  end
endmodule
`default_nettype wire
