"""The generated top module: shell (sequencer, DMA, configuration port, buffer) and circuits."""

from __future__ import annotations

from collections.abc import Sequence

from fragenv.hardware.chip import Chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.hardware.timing import ACC_PIXELS
from fragenv.rtl.circuits import FIRST_CIRCUIT_UNIT, Circuits
from fragenv.rtl.isa import RECORDS, WORD_BITS, field_words, run_words, wait_words
from fragenv.rtl.names import comment_text

TOP_NAME = "fragenv_top"
#: more banks: fewer accesses meet in one, wider multiplexers
BUFFER_BANKS = 8

_HEADER = """\
// {top} - {title}
//
// Generated: shell of chip '{chip}' and the circuits of one schedule. Ports: the program memory,
// the DRAM, the configuration memory; unit_start_o and unit_complete_o let a test bench time the
// commands (bit 0 the DMA, 1 the configuration port, then the circuits).
// Reset: synchronous, active low.
`default_nettype none
module {top} #(
  parameter int BeatBytes = {beat}
) (
  input  wire                    clk_i,
  input  wire                    rst_ni,
  output logic [31:0]            program_address_o,
  input  wire  [63:0]            program_i,
  output logic                   dram_valid_o,
  input  wire                    dram_ready_i,
  output logic                   dram_write_o,
  output logic [31:0]            dram_address_o,
  output logic [15:0]            dram_bytes_o,
  output logic [8*BeatBytes-1:0] dram_data_o,
  input  wire                    dram_valid_i,
  input  wire  [8*BeatBytes-1:0] dram_data_i,
  output logic                   config_request_o,
  output logic [31:0]            config_address_o,
  output logic [31:0]            config_bytes_o,
  input  wire                    config_valid_i,
  input  wire  [15:0]            config_bytes_i,
  output logic [{units}-1:0]{pad} unit_start_o,
  output logic [{units}-1:0]{pad} unit_complete_o,
  output logic                   over_o,
  output logic                   error_o
);
  localparam int Units      = {units};
  localparam int WaitWords  = {wait_words};
  localparam int RunBits    = {run_bits};
  localparam int SourceBits = {source_bits};
  localparam int ResidualBits = {residual_bits};
  localparam int Parts      = {parts};
  localparam int RecordBits = {record_bits};
  localparam int DmaBits    = {dma_bits};
  localparam int ConfigBits = {config_bits};
  localparam int MaxBytes   = {max_bytes};
  localparam int Readers    = {readers};
  localparam int Writers    = {writers};

  logic [Units-1:0]              word_valid, word_ready, start, done, complete;
  logic                          word_last, buffer_error, unbound_error, program_error;
  logic [63:0]                   word;
  logic [16*Units-1:0]           completed_q;
  logic [{circuits}-1:0]         bound;
  logic [Readers-1:0]            read_valid, read_ready, read_data_valid;
  logic [32*Readers-1:0]         read_address;
  logic [16*Readers-1:0]         read_bytes;
  // verilator lint_off UNUSEDSIGNAL
  logic [8*MaxBytes*Readers-1:0] read_data;      // narrow ports leave their upper bytes unused
  // verilator lint_on UNUSEDSIGNAL
  logic [Writers-1:0]            write_valid, write_ready, write_idle;
  logic [32*Writers-1:0]         write_address;
  logic [16*Writers-1:0]         write_bytes;
  logic [8*MaxBytes*Writers-1:0] write_data;

  assign unit_start_o    = start;
  assign unit_complete_o = complete;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      completed_q <= '0;
      error_o     <= 1'b0;
    end else begin
      for (int u = 0; u < Units; u++) begin
        if (complete[u]) completed_q[16*u+:16] <= completed_q[16*u+:16] + 16'd1;
      end
      error_o <= error_o || buffer_error || unbound_error || program_error;
    end
  end

  fe_sequencer #(
    .WaitWords (WaitWords),
    .Units     (Units),
    .UnitWords ({{{{{circuits}{{8'(WaitWords + RecordBits / 64)}}}},
                 8'(WaitWords + ConfigBits / 64), 8'(WaitWords + DmaBits / 64)}})
  ) u_sequencer (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .address_o    (program_address_o),
    .program_i    (program_i),
    .word_valid_o (word_valid),
    .word_ready_i (word_ready),
    .word_last_o  (word_last),
    .word_o       (word),
    .completed_i  (completed_q),
    .over_o       (over_o),
    .error_o      (program_error)
  );

  fe_buffer #(
    .Bytes      ({buffer_bytes}),
    .Readers    (Readers),
    .Writers    (Writers),
    .MaxBytes   (MaxBytes),
    .Banks      ({banks}),
    .Urgent     ({readers}'b{urgent}),
    .ReadBytes  ({{{read_bytes}}}),
    .WriteBytes ({{{write_bytes}}})
  ) u_buffer (
    .clk_i             (clk_i),
    .rst_ni            (rst_ni),
    .read_valid_i      (read_valid),
    .read_ready_o      (read_ready),
    .read_address_i    (read_address),
    .read_bytes_i      (read_bytes),
    .read_data_valid_o (read_data_valid),
    .read_data_o       (read_data),
    .write_valid_i     (write_valid),
    .write_ready_o     (write_ready),
    .write_address_i   (write_address),
    .write_bytes_i     (write_bytes),
    .write_data_i      (write_data),
    .write_idle_o      (write_idle),
    .error_o           (buffer_error)
  );
"""

_QUEUE = """
  // ---- {title} ----
  logic [{bits}-1:0] {name}_record;

  fe_queue #(
    .WaitWords(WaitWords), .FieldWords({bits} / 64), .Units(Units),
    .Depth({depth}), .Counted({counted})
  ) u_{name}_queue (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .word_valid_i (word_valid[{unit}]),
    .word_ready_o (word_ready[{unit}]),
    .word_last_i  (word_last),
    .word_i       (word),
    .completed_i  (completed_q),
    .start_o      (start[{unit}]),
    .record_o     ({name}_record),
    .done_i       (done[{unit}]),
    .complete_o   (complete[{unit}])
  );
"""

_DMA = """
  fe_dma #(.BeatBytes(BeatBytes), .RecordBits(DmaBits)) u_dma (
    .clk_i             (clk_i),
    .rst_ni            (rst_ni),
    .start_i           (start[0]),
    .dma_i             (dma_record),
    .done_o            (done[0]),
    .request_valid_o   (dram_valid_o),
    .request_ready_i   (dram_ready_i),
    .request_write_o   (dram_write_o),
    .request_address_o (dram_address_o),
    .request_bytes_o   (dram_bytes_o),
    .request_data_o    (dram_data_o),
    .answer_valid_i    (dram_valid_i),
    .answer_data_i     (dram_data_i),
    .read_valid_o      (read_valid[0]),
    .read_ready_i      (read_ready[0]),
    .read_address_o    (read_address[31:0]),
    .read_data_valid_i (read_data_valid[0]),
    .read_data_i       (read_data[8*BeatBytes-1:0]),
    .write_valid_o     (write_valid[0]),
    .write_ready_i     (write_ready[0]),
    .write_address_o   (write_address[31:0]),
    .write_bytes_o     (write_bytes[15:0]),
    .write_data_o      (write_data[8*BeatBytes-1:0]),
    .write_idle_i      (write_idle[0])
  );
"""

_CONFIG = """
  fe_config #(.Fragments({circuits}), .PowerUp(16'd{power_up}), .RecordBits(ConfigBits)) u_config (
    .clk_i             (clk_i),
    .rst_ni            (rst_ni),
    .start_i           (start[1]),
    .config_i          (config_record),
    .done_o            (done[1]),
    .request_o         (config_request_o),
    .request_address_o (config_address_o),
    .request_bytes_o   (config_bytes_o),
    .answer_valid_i    (config_valid_i),
    .answer_bytes_i    (config_bytes_i),
    .bound_o           (bound)
  );
  assign unbound_error = |(start[Units-1:2] & ~bound);
"""

_CIRCUIT = """
  fe_fragment #(
    .LanesIn({lanes_in}), .LanesOut({lanes_out}), .HasArray({array}), .HasDepthwise({depthwise}),
    .HasPool({pool}), .HasLrn({lrn}), .HasResidual({residual}), .Parts(Parts), .Pixels({pixels}),
    .RunBits(RunBits), .SourceBits(SourceBits), .ResidualBits(ResidualBits), .RecordBits(RecordBits)
  ) u_{name} (
    .clk_i            (clk_i),
    .rst_ni           (rst_ni && bound[{index}]),
    .start_i          (start[{unit}]),
    .record_i         ({name}_record),
    .done_o           (done[{unit}]),
    .x_read_valid_o   (read_valid[{x}]),
    .x_read_address_o (read_address[32*{x}+:32]),
    .x_read_bytes_o   (read_bytes[16*{x}+:16]),
    .x_read_ready_i   (read_ready[{x}]),
    .x_valid_i        (read_data_valid[{x}]),
    .x_data_i         (read_data[8*MaxBytes*{x}+:{x_bits}]),
{weights}{added}    .write_valid_o    (write_valid[{y}]),
    .write_ready_i    (write_ready[{y}]),
    .write_idle_i     (write_idle[{y}]),
    .write_address_o  (write_address[32*{y}+:32]),
    .write_bytes_o    (write_bytes[16*{y}+:16]),
    .write_data_o     (write_data[8*MaxBytes*{y}+:{w_bits}])
  );
"""

_PORT = """\
    .{port}_read_valid_o   (read_valid[{number}]),
    .{port}_read_address_o (read_address[32*{number}+:32]),
    .{port}_read_ready_i   (read_ready[{number}]),
    .{port}_valid_i        (read_data_valid[{number}]),
    .{port}_data_i         (read_data[8*MaxBytes*{number}+:{bits}]),
"""

_NO_PORT = """\
    // verilator lint_off PINCONNECTEMPTY
    .{port}_read_valid_o   (),
    .{port}_read_address_o (),
    // verilator lint_on PINCONNECTEMPTY
    .{port}_read_ready_i   (1'b0),
    .{port}_valid_i        (1'b0),
    .{port}_data_i         ('0),
"""

_WHOLE = """  assign read_bytes[16*{port}+:16] = 16'd{size};
"""

_UNUSED = """  assign write_data[8*MaxBytes*{port}+{bits}+:8*MaxBytes-{bits}] = '0;
"""


def circuit_name(fragment: Fragment, index: int) -> str:
    """Instance name of a circuit, such as ``circuit0_mac_pool_8x16``."""
    stages = "_".join(fragment.stages) or "vector"
    return f"circuit{index}_{stages}_{fragment.lanes_in}x{fragment.lanes_out}"


def top_module(chip: Chip, circuits: Circuits, title: str) -> str:
    """The text of the top module; equal arguments give equal text."""
    beat = chip.dram_bytes_per_cycle
    fragments = circuits.fragments
    ports = _Ports([beat])
    writers = [beat, *(f.lanes_out for f in fragments)]
    parts = "".join(_circuit(circuits, index, ports) for index in range(len(fragments)))
    readers = ports.widths
    widest = max(buffer_ports(chip, circuits))
    bits = {name: field_words(fields) * WORD_BITS for name, fields in RECORDS.items()}
    residual_bits = bits["residual"] if circuits.adds else 1
    units = circuits.units
    text = _HEADER.format(
        top=TOP_NAME,
        title=title,
        chip=comment_text(chip.name),
        beat=beat,
        units=units,
        pad=" " * (17 - len(str(units)) - 3),
        wait_words=wait_words(units),
        run_bits=bits["run"],
        source_bits=bits["source"],
        residual_bits=residual_bits,
        parts=circuits.parts,
        record_bits=run_words(circuits.parts, circuits.adds) * WORD_BITS,
        dma_bits=bits["dma"],
        config_bits=bits["config"],
        max_bytes=widest,
        readers=len(readers),
        writers=len(writers),
        circuits=len(fragments),
        buffer_bytes=chip.buffer_bytes,
        banks=BUFFER_BANKS,
        urgent="".join("01"[port in ports.urgent] for port in reversed(range(len(readers)))),
        read_bytes=_widths(readers),
        write_bytes=_widths(writers),
    )
    text += _QUEUE.format(title="DMA", bits="DmaBits", name="dma", depth=4, counted="1'b1", unit=0)
    text += _DMA
    text += _QUEUE.format(
        title="configuration port",
        bits="ConfigBits",
        name="config",
        depth=2,
        counted="1'b0",
        unit=1,
    )
    text += _CONFIG.format(circuits=len(fragments), power_up=circuits.power_up)
    text += parts
    for port, size in enumerate(readers):
        if port not in ports.urgent:
            text += _WHOLE.format(port=port, size=size)
    for port, size in enumerate(writers):
        if size < widest:
            text += _UNUSED.format(port=port, bits=8 * size)
    return text + "endmodule\n`default_nettype wire\n"


def buffer_ports(chip: Chip, circuits: Circuits) -> list[int]:
    """Widths of what reads and writes the buffer, in bytes."""
    lanes = [max(f.lanes_in, f.lanes_out) for f in circuits.fragments]
    return [chip.dram_bytes_per_cycle, *lanes]


class _Ports:
    """Numbers the buffer's reader ports as they are asked for."""

    def __init__(self, widths: list[int]) -> None:
        self.widths = widths
        #: those of pixels: their waiting stops a whole circuit, and they say how much they read
        self.urgent: set[int] = set()

    def add(self, width: int, urgent: bool = False) -> int:
        self.widths.append(width)
        if urgent:
            self.urgent.add(len(self.widths) - 1)
        return len(self.widths) - 1


def _circuit(circuits: Circuits, index: int, ports: _Ports) -> str:
    """A circuit with its queue."""
    fragment = circuits.fragments[index]
    name, unit = circuit_name(fragment, index), FIRST_CIRCUIT_UNIT + index
    adds = Stage.ADD in fragment.stages
    x_lanes = max(fragment.lanes_in, fragment.lanes_out)
    out_bits = 8 * fragment.lanes_out

    def port(letter: str, there: bool) -> str:
        if not there:
            return _NO_PORT.format(port=letter)
        number = ports.add(fragment.lanes_out)
        return _PORT.format(port=letter, number=number, bits=out_bits)

    text = _QUEUE.format(
        title=name.replace("_", " "),
        bits="RecordBits",
        name=name,
        depth=2,
        counted="1'b1",
        unit=unit,
    )
    return text + _CIRCUIT.format(
        name=name,
        index=index,
        unit=unit,
        lanes_in=fragment.lanes_in,
        lanes_out=fragment.lanes_out,
        array=f"1'b{int(fragment.has_array)}",
        depthwise=f"1'b{int(Stage.DEPTHWISE in fragment.stages)}",
        pool=f"1'b{int(index in circuits.windows)}",
        lrn=f"1'b{int(Stage.LRN in fragment.stages)}",
        residual=f"1'b{int(adds)}",
        pixels=ACC_PIXELS,
        x=ports.add(x_lanes, urgent=True),
        x_bits=8 * x_lanes,
        weights=port("w", fragment.has_array),
        added=port("r", adds),
        y=1 + index,
        w_bits=out_bits,
    )


def _widths(sizes: Sequence[int]) -> str:
    """Port widths as a concatenation, port 0 last."""
    return ", ".join(f"16'd{size}" for size in reversed(sizes))
