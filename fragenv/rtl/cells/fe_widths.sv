// fe_widths - how output channels are cut into groups of at most Lanes, none across groups of a convolution.
//
// Control   : load_i goes to the first group, step_i to the next one, after the last one to the first.
//             total_i channels, of which the first first_i end a group of a convolution, and then every
//             group_i, are stable from load_i on. Without any channels the outputs mean nothing.
// Latency   : outputs follow an edge with load_i or step_i at once.  Throughput: 1 group per cycle.
// Reset     : none; load before use.
// Does not  : count groups.
`default_nettype none
module fe_widths #(
  parameter int Lanes = 8
) (
  input  wire         clk_i,
  input  wire         load_i,
  input  wire         step_i,
  input  wire  [15:0] total_i,
  input  wire  [15:0] first_i,
  input  wire  [15:0] group_i,
  output logic [15:0] width_o,
  output logic        last_o,            // the last group of all
  output logic        conv_end_o         // not the last one, but the last of its group of the convolution
);
  localparam int          WidthBits = $clog2(Lanes + 1);
  localparam logic [15:0] Full      = 16'(Lanes);

  // what the next group has before it, of all channels and of its group of the convolution: ready before
  // it is asked for, so that no comparison waits for a subtraction
  logic [15:0]          left_full_q, left_end_q, group_full_q;
  logic [WidthBits-1:0] width_q;
  logic [15:0]          left, group;
  logic                 again, last, conv_end;

  assign again    = load_i || last_o;
  assign left     = again ? total_i : conv_end_o ? left_end_q : left_full_q;
  assign group    = again ? first_i : conv_end_o ? group_i : group_full_q;
  assign conv_end = group < left && group <= Full;
  assign last     = group >= left && left <= Full;
  assign width_o  = 16'(width_q);

  always_ff @(posedge clk_i) begin
    if (load_i || step_i) begin
      left_full_q  <= left - Full;
      left_end_q   <= left - group;
      group_full_q <= group - Full;
      width_q      <= last ? left[WidthBits-1:0] : conv_end ? group[WidthBits-1:0] : Full[WidthBits-1:0];
      last_o       <= last;
      conv_end_o   <= conv_end;
    end
  end
endmodule
`default_nettype wire
