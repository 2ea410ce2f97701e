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

  // The next group is the first one, the first of a group of the convolution, or another one: what each would be is
  // known before it is known which, since that a RUN begins comes late.
  localparam int Ways = 3;

  logic [Ways-1:0][15:0]          left, group;       // channels before the end of all, of the group of the convolution
  logic [Ways-1:0][WidthBits-1:0] width;
  logic [Ways-1:0]                last, conv_end;
  logic [1:0]                     way;
  // what the next group has before it, so that no comparison waits for a subtraction
  logic [15:0]                    left_full_q, left_end_q, group_full_q;
  logic [WidthBits-1:0]           width_q;

  assign left    = {left_full_q, left_end_q, total_i};
  assign group   = {group_full_q, group_i, first_i};
  assign way     = load_i || last_o ? 2'd0 : conv_end_o ? 2'd1 : 2'd2;
  assign width_o = 16'(width_q);

  always_comb begin
    for (int w = 0; w < Ways; w++) begin
      conv_end[w] = group[w] < left[w] && group[w] <= Full;
      last[w]     = group[w] >= left[w] && left[w] <= Full;
      width[w]    = last[w] ? left[w][WidthBits-1:0] : conv_end[w] ? group[w][WidthBits-1:0] : Full[WidthBits-1:0];
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_i || step_i) begin
      left_full_q  <= left[way] - Full;
      left_end_q   <= left[way] - group[way];
      group_full_q <= group[way] - Full;
      width_q      <= width[way];
      last_o       <= last[way];
      conv_end_o   <= conv_end[way];
    end
  end
endmodule
`default_nettype wire
