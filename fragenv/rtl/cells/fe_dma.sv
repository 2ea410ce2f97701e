// fe_dma - moves pieces between DRAM and the buffer, one transfer at a time.
//
// DRAM port : a request of up to BeatBytes bytes at any byte address moves where request_valid_o and
//             request_ready_i are 1 (writes carry their data). Every request is answered once, in order:
//             read data, or the acknowledgement of a write.
// Control   : start_i begins the transfer of dma_i, which stays stable until done_o (one cycle).
// Cycles    : a beat per cycle, the DRAM's latency once, and 4.
// Reset     : synchronous, active low.
// Does not  : overlap transfers.
`default_nettype none
module fe_dma #(
  parameter int BeatBytes  = 16,
  parameter int RecordBits = 320
) (
  input  wire                    clk_i,
  input  wire                    rst_ni,
  input  wire                    start_i,
  input  wire  [RecordBits-1:0]  dma_i,
  output logic                   done_o,
  output logic                   request_valid_o,
  input  wire                    request_ready_i,
  output logic                   request_write_o,
  output logic [31:0]            request_address_o,
  output logic [15:0]            request_bytes_o,
  output logic [8*BeatBytes-1:0] request_data_o,
  input  wire                    answer_valid_i,
  input  wire  [8*BeatBytes-1:0] answer_data_i,
  output logic                   read_valid_o,
  output logic [31:0]            read_address_o,
  input  wire  [8*BeatBytes-1:0] read_data_i,
  output logic                   write_valid_o,
  output logic [31:0]            write_address_o,
  output logic [15:0]            write_bytes_o,
  output logic [8*BeatBytes-1:0] write_data_o
);
  `include "fe_dma_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  dma_record_t dma;                                  // fe_pieces decodes the rest
  logic [31:0] answered_dram;                        // an answer needs its place in the buffer alone
  // verilator lint_on UNUSEDSIGNAL
  assign dma = dma_i;

  logic        asking_q, answering_q, store, ask, move, ask_end, answer_end;
  logic [31:0] asked_dram, asked_buffer, answered_buffer;
  logic [15:0] asked_bytes, answered_bytes;

  assign store = dma.store[0];
  assign move  = !request_valid_o || request_ready_i;
  assign ask   = asking_q && move;

  // a store reads the buffer while its request waits in the register for that data
  assign read_valid_o   = ask && store;
  assign read_address_o = asked_buffer;
  assign request_data_o = read_data_i;

  assign write_valid_o   = answer_valid_i && !store;
  assign write_address_o = answered_buffer;
  assign write_bytes_o   = answered_bytes;
  assign write_data_o    = answer_data_i;
  assign done_o          = answering_q && answer_valid_i && answer_end;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {asking_q, answering_q, request_valid_o} <= '0;
    end else begin
      asking_q        <= start_i || (asking_q && !(ask && ask_end));
      answering_q     <= start_i || (answering_q && !done_o);
      if (move) request_valid_o <= ask;
    end
  end

  always_ff @(posedge clk_i) begin
    if (move) begin
      request_write_o   <= store;
      request_address_o <= asked_dram;
      request_bytes_o   <= asked_bytes;
    end
  end

  fe_pieces #(.BeatBytes(BeatBytes), .RecordBits(RecordBits)) u_asked (
    .clk_i            (clk_i),
    .dma_i            (dma_i),
    .load_i           (start_i),
    .step_i           (ask),
    .dram_address_o   (asked_dram),
    .buffer_address_o (asked_buffer),
    .bytes_o          (asked_bytes),
    .end_o            (ask_end)
  );

  fe_pieces #(.BeatBytes(BeatBytes), .RecordBits(RecordBits)) u_answered (
    .clk_i            (clk_i),
    .dma_i            (dma_i),
    .load_i           (start_i),
    .step_i           (answer_valid_i),
    .dram_address_o   (answered_dram),
    .buffer_address_o (answered_buffer),
    .bytes_o          (answered_bytes),
    .end_o            (answer_end)
  );
endmodule
`default_nettype wire
