// Cycles from the inputs of a cell to its outputs, in one place: cells and tests take them from here.
// verilator lint_off UNUSEDPARAM
localparam int BufferLatency     = 6;     // fe_buffer: from an access that moves to its data, at least
localparam int BufferFlight      = 8;     // fe_buffer: reads of a port that may be under way, at most
localparam int RequantiseLatency = 7;     // fe_requantise: from valid_i to valid_o
localparam int AccumulatorLead   = 2;     // fe_accumulator: from add_valid_i to its sum_i
localparam int AccumulatorRead   = 2;     // fe_accumulator, fe_drain: from a read to its sums
localparam int MacTreeLevels     = 2;     // fe_mac_array: levels of its adder trees between registers
// verilator lint_on UNUSEDPARAM

// fe_mac_array: from x_valid_i to sum_valid_o. Activations are registered twice, products once, then the tree.
function automatic int mac_latency(input int lanes_in);
  mac_latency = lanes_in <= 2 ? 4 : 3 + ($clog2(lanes_in) + MacTreeLevels - 1) / MacTreeLevels;
endfunction
