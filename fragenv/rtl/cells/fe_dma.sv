// fe_dma - moves pieces between DRAM and the buffer, one transfer at a time.
//
// DRAM port  : a request of up to BeatBytes bytes at any byte address moves where request_valid_o and
//              request_ready_i are 1 (writes carry their data). Every request is answered once, in order:
//              read data, or the acknowledgement of a write. An answer cannot be refused: beats are
//              asked for only where the queue has a place for them.
// Buffer port: valid, ready; data of reads come in order with a valid bit.
// Control    : start_i begins the transfer of dma_i, which stays stable until done_o (one cycle).
// Cycles     : from start_i to done_o, both included, where nothing stalls: a beat per cycle, the DRAM's
//              latency once, and 5 (load) or BufferLatency + 2 (store).
// Throughput : 1 beat per cycle; loads need QueueBeats of at least the DRAM's latency and 2.
// Reset      : synchronous, active low.
// Does not   : overlap transfers.
`default_nettype none
module fe_dma #(
  parameter int BeatBytes  = 16,
  parameter int QueueBeats = 64,         // a power of two, at least 4
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
  input  wire                    read_ready_i,
  output logic [31:0]            read_address_o,
  input  wire                    read_data_valid_i,
  input  wire  [8*BeatBytes-1:0] read_data_i,
  output logic                   write_valid_o,
  input  wire                    write_ready_i,
  output logic [31:0]            write_address_o,
  output logic [15:0]            write_bytes_o,
  output logic [8*BeatBytes-1:0] write_data_o,
  input  wire                    write_idle_i        // no write waits in the buffer
);
  `include "fe_dma_record.svh"
  // verilator lint_off UNUSEDSIGNAL
  dma_record_t dma;                                  // fe_pieces decodes the rest
  logic [31:0] asked_buffer, moved_dram;             // each side needs its own address alone
  // verilator lint_on UNUSEDSIGNAL
  assign dma = dma_i;

  localparam int CountBits = $clog2(QueueBeats) + 1;

  logic                   store_q;                   // beats move from 2 cycles after start_i on
  logic                   request_moves, buffer_moves, reserve, release_place, has_place;
  logic                   started_q, asking_q, moving_q, moved_q, ask_end, move_end;
  logic                   asking_next, acknowledged, one_left, one_left_q;
  logic [CountBits-1:0]   reserved_q;                // beats that are in the queue or will come
  logic [31:0]            unanswered_q;              // writes to DRAM
  logic                   answer_valid_q, queued, queue_ready;
  logic [8*BeatBytes-1:0] answer_data_q, queue_data;
  logic [31:0]            moved_buffer;
  logic [15:0]            asked_bytes, moved_bytes;

  assign has_place = !reserved_q[CountBits-1];       // QueueBeats alone has that bit

  // ---- a load asks the DRAM and writes what is queued; a store reads and asks with what is queued ----
  assign request_valid_o   = asking_q && (store_q ? queued : has_place);
  assign request_write_o   = store_q;
  assign request_bytes_o   = asked_bytes;
  assign request_data_o    = queue_data;
  assign request_moves     = request_valid_o && request_ready_i;

  assign read_valid_o      = moving_q && store_q && has_place;
  assign read_address_o    = moved_buffer;
  assign write_valid_o     = moving_q && !store_q && queued;
  assign write_address_o   = moved_buffer;
  assign write_bytes_o     = moved_bytes;
  assign write_data_o      = queue_data;
  assign buffer_moves      = (read_valid_o && read_ready_i) || (write_valid_o && write_ready_i);

  assign queue_ready   = store_q ? request_moves : buffer_moves;
  assign reserve       = store_q ? buffer_moves : request_moves;
  assign release_place = queue_ready;

  // ---- what done_o hangs on is known a cycle before: it starts the next command at once ----
  assign asking_next  = started_q || (asking_q && !(request_moves && ask_end));
  assign acknowledged = store_q && answer_valid_i;
  always_comb begin
    case ({store_q && request_moves, acknowledged})
      2'b10:   one_left = unanswered_q == 32'd0;
      2'b01:   one_left = unanswered_q == 32'd2;
      default: one_left = unanswered_q == 32'd1;
    endcase
  end
  assign done_o = store_q ? answer_valid_i && one_left_q : moved_q && write_idle_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {started_q, asking_q, moving_q, moved_q, answer_valid_q, one_left_q} <= '0;
      reserved_q   <= '0;
      unanswered_q <= '0;
    end else begin
      started_q      <= start_i;           // fe_pieces makes the first beat ready
      asking_q       <= asking_next;
      one_left_q     <= one_left && !asking_next;
      moving_q       <= started_q || (moving_q && !(buffer_moves && move_end));
      answer_valid_q <= answer_valid_i && !store_q;
      moved_q        <= !store_q && ((buffer_moves && move_end) || (moved_q && !done_o));
      reserved_q     <= reserved_q + CountBits'(reserve) - CountBits'(release_place);
      unanswered_q   <= unanswered_q + 32'(store_q && request_moves) - 32'(acknowledged);
    end
  end

  always_ff @(posedge clk_i) begin
    store_q       <= dma.store[0];
    answer_data_q <= answer_data_i;
  end

  fe_fifo #(.Bits(8 * BeatBytes), .Depth(QueueBeats)) u_queue (
    .clk_i   (clk_i),
    .rst_ni  (rst_ni),
    .push_i  (store_q ? read_data_valid_i : answer_valid_q),
    .data_i  (store_q ? read_data_i : answer_data_q),
    .valid_o (queued),
    .ready_i (queue_ready),
    .data_o  (queue_data)
  );

  fe_pieces #(.BeatBytes(BeatBytes), .RecordBits(RecordBits)) u_asked (
    .clk_i            (clk_i),
    .dma_i            (dma_i),
    .load_i           (start_i),
    .step_i           (request_moves),
    .dram_address_o   (request_address_o),
    .buffer_address_o (asked_buffer),
    .bytes_o          (asked_bytes),
    .end_o            (ask_end)
  );

  fe_pieces #(.BeatBytes(BeatBytes), .RecordBits(RecordBits)) u_moved (
    .clk_i            (clk_i),
    .dma_i            (dma_i),
    .load_i           (start_i),
    .step_i           (buffer_moves),
    .dram_address_o   (moved_dram),
    .buffer_address_o (moved_buffer),
    .bytes_o          (moved_bytes),
    .end_o            (move_end)
  );
endmodule
`default_nettype wire
