"""Programs: the commands that carry a schedule out, with what each waits for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from fragenv.schedule.choices import Choice
from fragenv.schedule.fused import Ring
from fragenv.schedule.fused_plan import LayerPlan
from fragenv.schedule.steps import TaskPlan


class CommandKind(StrEnum):
    LOAD = "load"
    STORE = "store"
    RUN = "run"
    BIND = "bind"


class Role(StrEnum):
    """What a command moves or does."""

    WEIGHTS = "weights"
    INPUT = "input"
    OUTPUT = "output"
    SPILL = "spill"
    COMPUTE = "compute"
    CONFIG = "config"


DMA = "dma"
CONFIG_PORT = "config"


def fragment_unit(instance: int) -> str:
    """The unit name of a bound fragment: each binding is a circuit of its own."""
    return f"fragment{instance}"


class Command(NamedTuple):
    """One command. A unit (``dma``, ``config``, ``fragment0``, ...) runs its commands in the order
    of their ids; a command starts when its unit is free and all of ``waits`` have ended.

    Weights are stored in DRAM without padding, in the block order of ``TaskShape.weight_prefix``;
    a group's requantisation constants precede its weights.
    """

    id: int
    kind: CommandKind
    unit: str
    role: Role
    cycles: int
    #: ids of earlier commands
    waits: tuple[int, ...]
    #: contiguous bytes and how many such pieces; their product is the traffic
    run_bytes: int = 0
    runs: int = 0
    #: index into ``Program.tasks`` and into its plan's steps; -1 for BIND and spills
    task: int = -1
    step: int = -1
    #: the tensor moved, "" for weights, RUN and BIND
    tensor: str = ""
    #: of an input LOAD: index among the task's sources (residuals follow); -1 for others
    source: int = -1
    #: half-open ranges: frames; rows of that tensor, of the output for a RUN; weight blocks
    frames: tuple[int, int] = (0, 0)
    rows: tuple[int, int] = (0, 0)
    #: output columns of a RUN and of its STORE
    cols: tuple[int, int] = (0, 0)
    blocks: tuple[int, int] = (0, 0)
    #: which binding of a fragment this configures (BIND) or runs on (RUN)
    instance: int = -1

    @property
    def bytes(self) -> int:
        return self.run_bytes * self.runs


@dataclass(frozen=True, slots=True)
class Binding:
    """A fragment's circuit on the chip. Those ``at_power_up`` are the first configuration."""

    instance: int
    fragment: int
    #: number of the circuit among those of its fragment
    part: int
    slot: int
    at_power_up: bool


class ProgramTask(NamedTuple):
    """What one circuit does: a task, or a layer of a fused one."""

    choice: Choice
    plan: TaskPlan | LayerPlan
    #: the binding of the circuit
    instance: int
    #: bit i: source i (then the residuals) is kept on the chip
    on_chip: int
    #: number of the fused task's first layer; of other tasks their own
    group: int
    #: start of the task's first command
    first_cycle: int

    def ring_read(self, source: int) -> Ring | None:
        """The ring that a source is read from; None where it is loaded for this task alone, or
        kept on the chip."""
        return self.plan.reads[source] if isinstance(self.plan, LayerPlan) else None

    @property
    def rings(self) -> dict[int, Ring]:
        """The rings that it reads, by their tensors."""
        found = ((t, self.ring_read(i)) for i, t in enumerate(self.choice.sources))
        return {tensor: ring for tensor, ring in found if ring is not None}

    @property
    def ring_written(self) -> Ring | None:
        """The ring that the output passes through; None where it leaves the task."""
        return self.plan.writes if isinstance(self.plan, LayerPlan) else None

    @property
    def keeps_output(self) -> bool:
        """Whether the output stays on the chip, whole."""
        return self.plan.setting.keep_output and self.ring_written is None


@dataclass(frozen=True, slots=True)
class Program:
    """Commands in an order that keeps every unit's order and every wait."""

    commands: tuple[Command, ...]
    tasks: tuple[ProgramTask, ...]
    bindings: tuple[Binding, ...]

    @property
    def read_bytes(self) -> int:
        """DRAM bytes of all LOADs."""
        return sum(c.bytes for c in self.commands if c.kind is CommandKind.LOAD)

    @property
    def write_bytes(self) -> int:
        """DRAM bytes of all STOREs."""
        return sum(c.bytes for c in self.commands if c.kind is CommandKind.STORE)

    @property
    def config_bytes(self) -> int:
        """Configuration bytes of all BINDs."""
        return sum(c.bytes for c in self.commands if c.kind is CommandKind.BIND)


def working_bytes(program: Program) -> list[int]:
    """Bytes of the tensor buffer that each task's buffers take, rings included. A ring belongs to
    the layer that writes it, one that is loaded to the first layer that reads it."""
    sizes = []
    loaded: set[tuple[int, int]] = set()
    inner = {(task.group, task.choice.output) for task in program.tasks}
    for task in program.tasks:
        size = task.plan.tiling.sram_bytes
        if task.ring_written is not None:
            size += task.ring_written.bytes
        for tensor, ring in task.rings.items():
            if (task.group, tensor) not in inner | loaded:
                loaded.add((task.group, tensor))
                size += ring.bytes
        sizes.append(size)
    return sizes
