// Fields of the dma record, written from fragenv/rtl/isa.py: change them there.
typedef struct packed {
  logic        [31:0] spare;
  logic        [31:0] buffer_step;  // bytes from a piece to the next in the ring
  logic        [31:0] buffer_first;  // offset in the ring of the first piece
  logic        [31:0] buffer_ring;  // bytes of the ring
  logic        [31:0] buffer_base;  // buffer address of the ring
  logic        [31:0] dram_step;  // bytes from a piece to the next in DRAM
  logic        [31:0] dram_base;  // DRAM address of the first piece
  logic        [31:0] piece_bytes;  // bytes of each
  logic        [31:0] pieces;  // contiguous pieces
  logic        [15:0] counts;  // 1 where the end of this record completes its command
  logic        [15:0] store;  // 0 DRAM to buffer, 1 buffer to DRAM
} dma_record_t;
