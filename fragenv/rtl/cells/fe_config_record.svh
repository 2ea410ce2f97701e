// Fields of the config record, written from fragenv/rtl/isa.py: change them there.
typedef struct packed {
  logic        [31:0] spare;
  logic        [31:0] bytes;  // bytes of the configuration
  logic        [31:0] address;  // where its configuration begins in the configuration memory
  logic        [15:0] evicted;  // fragments that give their area back, one bit each
  logic        [15:0] fragment;  // fragment that is bound
} config_record_t;
