// fe_pool_stage - maximum or average over windows, Lanes channels side by side.
//
// Order: pixels, channel groups, window elements; one element is read per cycle. Padding reads as
// pad_value. The maximum or the sum goes through a requantiser whose constants are the record's.
// Control   : start_i begins the RUN of run_i, which stays stable until done_o; done_o is 1 for one cycle.
// Memory    : data come 1 cycle after read_valid_o.
// Cycles    : pixels x channel groups x window elements, and 10 from the last read to done_o.
// Reset     : synchronous, active low.
// Does not  : stall for memory; leave padding out of a mean.
`default_nettype none
module fe_pool_stage #(
  parameter int Lanes   = 8,
  parameter int RunBits = 1216
) (
  input  wire                clk_i,
  input  wire                rst_ni,
  input  wire                start_i,
  input  wire  [RunBits-1:0] run_i,
  output logic               done_o,
  output logic               read_valid_o,
  output logic [31:0]        read_address_o,
  input  wire  [8*Lanes-1:0] data_i,
  output logic               write_valid_o,
  output logic [31:0]        write_address_o,
  output logic [15:0]        write_bytes_o,
  output logic [8*Lanes-1:0] write_data_o
);
  `include "fe_run_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  run_record_t run;                       // source and sink decode their fields themselves
  logic        row_end, group_end;        // the ends of rows and groups are of no use here
  // verilator lint_on UNUSEDSIGNAL
  assign run = run_i;

  // ---- window elements, one per cycle ----
  logic        issue_q, running_q, last_s, last_element, last_group, all_end, in_bounds;
  logic [15:0] r_q, s_q, y_q, x_q, channel_q;
  logic [31:0] row_q, col_q, address;

  assign last_s       = s_q + 16'd1 == run.k_cols;
  assign last_element = last_s && r_q + 16'd1 == run.k_rows;
  assign last_group   = channel_q + 16'(Lanes) >= run.out_channels;

  always_ff @(posedge clk_i) begin
    if (issue_q) begin
      s_q   <= s_q + 16'd1;
      x_q   <= x_q + run.k_x_step;
      col_q <= col_q + run.k_col_step;
      if (last_s) begin
        {s_q, x_q, col_q} <= '0;
        r_q   <= r_q + 16'd1;
        y_q   <= y_q + run.k_y_step;
        row_q <= row_q + run.k_row_step;
      end
      if (last_element) begin
        {r_q, y_q, row_q} <= '0;
        channel_q <= last_group ? '0 : channel_q + 16'(Lanes);
      end
    end
    if (start_i) {r_q, y_q, row_q, s_q, x_q, col_q, channel_q} <= '0;
  end

  fe_source #(.RunBits(RunBits)) u_source (
    .clk_i     (clk_i),
    .run_i     (run_i),
    .load_i    (start_i),
    .step_i    (issue_q && last_element && last_group),
    .back_i    (1'b0),
    .mark_i    (1'b0),
    .k_y_i     (y_q),
    .k_x_i     (x_q),
    .k_row_i   (row_q),
    .k_pixel_i (col_q + 32'(channel_q)),
    .address_o (address),
    .inside_o  (in_bounds),
    .row_end_o (row_end),
    .end_o     (all_end)
  );

  // ---- what travels with an element: 0 address, 1 data, 2 reduced; then the requantiser ----
  logic [6:0]          busy_q;
  logic [1:0]          inside_q, first_q;
  logic [2:0]          last_q;
  logic [32*Lanes-1:0] reduced_q;
  logic [8*Lanes-1:0]  out;
  logic                out_valid;

  assign done_o = running_q && !issue_q && busy_q == '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {running_q, issue_q, busy_q, last_q, read_valid_o} <= '0;
    end else begin
      running_q    <= start_i || (running_q && !done_o);
      issue_q      <= start_i || (issue_q && !(last_element && last_group && all_end));
      busy_q       <= {busy_q[5:0], issue_q};
      last_q       <= {last_q[1:0], issue_q && last_element};
      read_valid_o <= issue_q && in_bounds;
    end
  end

  always_ff @(posedge clk_i) begin
    read_address_o <= address;
    inside_q       <= {inside_q[0], in_bounds};
    first_q        <= {first_q[0], r_q == '0 && s_q == '0};
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    logic signed [31:0] element, so_far;

    assign element = 32'($signed(inside_q[1] ? data_i[8*i+:8] : run.pad_value[7:0]));
    assign so_far  = $signed(reduced_q[32*i+:32]);

    always_ff @(posedge clk_i) begin
      if (busy_q[1]) begin
        if (first_q[1])             reduced_q[32*i+:32] <= element;
        else if (run.op == 16'd2)   reduced_q[32*i+:32] <= so_far + element;
        else if (element > so_far)  reduced_q[32*i+:32] <= element;
      end
    end
  end

  fe_requantise #(.Lanes(Lanes)) u_requantise (
    .clk_i       (clk_i),
    .rst_ni      (rst_ni),
    .valid_i     (last_q[2]),
    .sum_i       (reduced_q),
    .constants_i ({Lanes{run.shift[7:0], run.multiplier[23:0], run.bias}}),
    .zero_i      (run.out_zero),
    .min_i       (run.clamp_min),
    .max_i       (run.clamp_max),
    .valid_o     (out_valid),
    .data_o      (out)
  );

  fe_sink #(.Lanes(Lanes), .PixelFirst(1'b0), .RunBits(RunBits)) u_sink (
    .clk_i           (clk_i),
    .run_i           (run_i),
    .load_i          (start_i),
    .valid_i         (out_valid),
    .data_i          (out),
    .write_valid_o   (write_valid_o),
    .write_address_o (write_address_o),
    .write_bytes_o   (write_bytes_o),
    .write_data_o    (write_data_o),
    .group_end_o     (group_end)
  );
endmodule
`default_nettype wire
