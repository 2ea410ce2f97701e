// fe_bank_grant - shares the banks of the tensor buffer among ports that may want two banks at once.
//
// A port moves in a cycle in which no valid port before it wants one of its banks. Urgent ports come
// before the others, but in every eighth cycle after them; within a class the first port changes every
// cycle. So none starves.
// Latency  : outputs follow their inputs in the same cycle.  Reset: synchronous, active low.
// Does not : give a bank to a port behind one that waits for another bank.
`default_nettype none
module fe_bank_grant #(
  parameter int Ports = 2,
  parameter int Banks = 8,
  parameter logic [Ports-1:0] Urgent = '0
) (
  input  wire                    clk_i,
  input  wire                    rst_ni,
  input  wire  [Ports-1:0]       valid_i,
  input  wire  [Banks*Ports-1:0] wants_i,     // banks of each port
  output logic [Ports-1:0]       ready_o,     // the port has all its banks
  output logic [Banks*Ports-1:0] has_o        // banks that the port has of those that it wants
);
  logic [15:0]            first_q, first;      // the port that comes first; in the next cycle
  logic [2:0]             turn_q;
  logic [Ports*Ports-1:0] before_q;            // bit Ports*p+q: port q comes before port p

  assign first = !rst_ni || first_q == 16'(Ports - 1) ? '0 : first_q + 16'd1;

  always_ff @(posedge clk_i) begin
    first_q <= first;
    turn_q  <= !rst_ni ? '0 : turn_q + 3'd1;
    for (int p = 0; p < Ports; p++) begin
      for (int q = 0; q < Ports; q++) begin
        // the turn that begins at the first port meets q earlier than p
        if (Urgent[p] != Urgent[q]) before_q[Ports*p+q] <= Urgent[q] != (turn_q == '0);
        else before_q[Ports*p+q] <= q < p ? !(first > 16'(q) && first <= 16'(p)) : first > 16'(p) && first <= 16'(q);
      end
    end
  end

  for (genvar p = 0; p < Ports; p++) begin : gen_port
    logic [Banks-1:0] taken;
    logic [Ports-1:0] ahead, meets;            // port q comes before, and wants one of the same banks

    // whether two ports meet does not depend on who else is there: fewer steps than by way of taken
    always_comb begin
      taken = '0;
      for (int q = 0; q < Ports; q++) begin
        ahead[q] = valid_i[q] && before_q[Ports*p+q];
        meets[q] = ahead[q] && (wants_i[Banks*p+:Banks] & wants_i[Banks*q+:Banks]) != '0;
        if (ahead[q]) taken = taken | wants_i[Banks*q+:Banks];
      end
    end
    assign has_o[Banks*p+:Banks] = wants_i[Banks*p+:Banks] & ~taken;
    assign ready_o[p]            = meets == '0;
  end
endmodule
`default_nettype wire
