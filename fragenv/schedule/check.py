"""The independent checker: judges a ``schedule.json`` by itself.

It shares no code with the transition, the lowering, the simulator or the timing formulas:
legality, times, traffic and the rewards are derived again from the file's own fields. What it takes
on trust is the description of the network, the chip with its region, the fragments, and durations
above their least.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fragenv.errors import Violation
from fragenv.schedule.check_rings import RingCheck
from fragenv.schedule.check_steady import check_steady
from fragenv.serialize import read_json

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the checker found; times in cycles, traffic in bytes."""

    violations: tuple[Violation, ...]
    latency_cycles: int
    period_cycles: int
    dram_read_bytes: int
    dram_write_bytes: int
    config_bytes: int
    #: sum of the default rewards of the schedule's decisions
    default_return: float

    @property
    def ok(self) -> bool:
        return not self.violations


def check_file(path: Path) -> CheckReport:
    """Check a schedule's file; FileError where it cannot be read."""
    return check_schedule(read_json(path, "fragenv-schedule", 3))


def check_schedule(data: Mapping[str, Any]) -> CheckReport:
    """Check a schedule that was read from its file."""
    return _Checker(data).report()


class _Checker:
    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        columns = data["commands"]["columns"]
        self.commands: list[Json] = [
            dict(zip(columns, row, strict=True)) for row in data["commands"]["rows"]
        ]
        self.tasks: list[Json] = data["tasks"]
        self.chip: Json = data["chip"]
        self.region: Json = data["region"]
        self.fragments: list[Json] = data["fragments"]
        self.operators: dict[str, Json] = {op["name"]: op for op in data["operators"]}
        self.tensors: dict[str, Json] = {t["name"]: t for t in data["tensors"]}
        self.bindings: dict[int, Json] = {b["instance"]: b for b in data["bindings"]}
        self.violations: list[Violation] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.rings = RingCheck(self)

    def broken(self, rule: str, where: object, demand: float, bound: float, unit: str) -> None:
        self.violations.append(Violation(rule, str(where), demand, bound, unit))

    def report(self) -> CheckReport:
        self.time()
        by_task = self.by_task()
        self.check_operators()
        for task in range(len(self.tasks)):
            self.check_task(task, by_task[task])
        self.check_buffer(by_task)
        self.check_area()
        totals: Counter[str] = Counter()
        for command in self.commands:
            totals[command["kind"]] += command["run_bytes"] * command["runs"]
        latency = max(self.ends, default=0)
        found = {
            "latency_cycles": latency,
            "period_cycles": check_steady(self) if self.data["steady_starts"] else latency,
            "dram_read_bytes": totals["load"],
            "dram_write_bytes": totals["store"],
            "config_bytes": totals["bind"],
        }
        for name, value in found.items():
            if value != self.data[name]:
                self.broken("result differs", name, self.data[name], value, "")
        bound = self.data["lower_bound"]
        traffic = totals["load"] + totals["store"] + totals["bind"]
        for name in ("latency_cycles", "period_cycles"):
            if found[name] < bound[name]:
                self.broken("below the bound", name, found[name], bound[name], "cycles")
        if traffic < bound["traffic_bytes"]:
            self.broken("below the bound", "traffic", traffic, bound["traffic_bytes"], "bytes")
        counted = "period_cycles" if self.data["objective"] == "throughput" else "latency_cycles"
        reward = -found[counted] / bound[counted] - traffic / bound["traffic_bytes"]
        return CheckReport(tuple(self.violations), **found, default_return=reward)

    def by_task(self) -> Mapping[int, list[int]]:
        """The commands of each task."""
        found: dict[int, list[int]] = defaultdict(list)
        for number, command in enumerate(self.commands):
            found[command["task"]].append(number)
        return found

    def time(self) -> None:
        """When every command starts and ends: its unit in order, its waits over."""
        free: dict[str, int] = {}
        for number, command in enumerate(self.commands):
            start = free.get(command["unit"], 0)
            for wait in command["waits"]:
                if wait >= number:
                    self.broken("waits for a later command", number, wait, number, "")
                else:
                    start = max(start, self.ends[wait])
            least = self.least_cycles(command)
            if command["cycles"] < least:
                self.broken("too fast", f"command {number}", command["cycles"], least, "cycles")
            free[command["unit"]] = start + command["cycles"]
            self.starts.append(start)
            self.ends.append(start + command["cycles"])

    def least_cycles(self, command: Json) -> int:
        """What a command takes at the very least: its bytes through its port, or its
        multiply-accumulates on its fragment's array."""
        size = command["run_bytes"] * command["runs"]
        if command["kind"] in ("load", "store"):
            per_run = -(-command["run_bytes"] // self.chip["dram_bytes_per_cycle"])
            return int(self.chip["dram_latency_cycles"] + per_run * command["runs"])
        if command["kind"] == "bind":
            return int(size / self.chip["config_bytes_per_cycle"])
        task = self.tasks[command["task"]]
        head = self.operators[task["operators"][0]]
        if not head["weight_bytes"] or command["blocks"][1] == command["blocks"][0]:
            return 1
        rows = command["rows"][1] - command["rows"][0]
        frames = command["frames"][1] - command["frames"][0]
        pixels = rows * frames * head["nest"]["q"] if len(task["operators"]) == 1 else frames
        return int((command["blocks"][1] - command["blocks"][0]) * max(1, pixels // 16))

    def check_operators(self) -> None:
        """Every operator is done once, and not before what it reads."""
        done = Counter(name for task in self.tasks for name in task["operators"])
        for name in self.operators:
            if done[name] != 1:
                self.broken("operator not done once", name, done[name], 1, "times")
        for name in done:
            if name not in self.operators:
                self.broken("unknown operator", name, 1, 0, "")

    def check_task(self, number: int, commands: list[int]) -> None:
        task = self.tasks[number]
        runs = [c for c in commands if self.commands[c]["kind"] == "run"]
        if not runs:
            self.broken("task without a RUN", task["operators"][0], 0, 1, "")
            return
        self.check_binding(task, runs)
        self.check_weights(task, commands, runs)
        self.check_output(task, commands, runs)
        for tensor in dict.fromkeys(task["sources"]):
            self.check_source(number, tensor, commands, runs)

    def check_binding(self, task: Json, runs: list[int]) -> None:
        binding = self.bindings.get(task["instance"])
        if binding is None or not self.stands_in(binding, task):
            self.broken("fragment not bound", task["operators"][0], 1, 0, "")
            return
        ready = 0
        if not binding["at_power_up"]:
            ready = self.bind_end(task["instance"])
        for run in runs:
            if self.starts[run] < ready:
                self.broken("RUN before its BIND", run, self.starts[run], ready, "cycles")

    def circuit(self, fragment: int, number: int) -> Json:
        circuit: Json = self.fragments[fragment]["circuits"][number]
        return circuit

    def stands_in(self, binding: Json, task: Json) -> bool:
        """Whether a bound circuit has the lanes and all stages of the one that a task wants."""
        have = self.circuit(binding["fragment"], binding["part"])
        need = self.circuit(task["fragment"], task["circuit"])
        lanes = all(have[name] == need[name] for name in ("lanes_in", "lanes_out"))
        return lanes and set(need["stages"]) <= set(have["stages"])

    def bind_end(self, instance: int) -> int:
        found = [
            self.ends[i]
            for i, c in enumerate(self.commands)
            if c["kind"] == "bind" and c["instance"] == instance
        ]
        if not found:
            self.broken("no BIND", f"binding {instance}", 0, 1, "")
        return max(found, default=0)

    def check_weights(self, task: Json, commands: list[int], runs: list[int]) -> None:
        """Weights are loaded before the RUN that uses them; all of them, at least once."""
        need = sum(self.operators[n]["weight_bytes"] for n in task["operators"])
        loads = [c for c in commands if self.commands[c]["role"] == "weights"]
        loads.sort(key=lambda c: self.commands[c]["blocks"])
        moved = sum(self.commands[c]["run_bytes"] for c in loads)
        if moved < need:
            self.broken("weights not loaded", task["operators"][0], moved, need, "bytes")
        if not need:
            return
        for run in runs:
            low, high = self.commands[run]["blocks"]
            covered = low
            for load in loads:
                first, last = self.commands[load]["blocks"]
                if first <= covered < last and self.ends[load] <= self.starts[run]:
                    covered = last
            if covered < high:
                self.broken("RUN before its weights", f"command {run}", high, covered, "blocks")

    def check_output(self, task: Json, commands: list[int], runs: list[int]) -> None:
        """The output is stored whole, or stays on the chip."""
        size = self.tensors[task["output"]]["bytes"]
        stores = [c for c in commands if self.commands[c]["kind"] == "store"]
        moved = sum(self.commands[c]["run_bytes"] * self.commands[c]["runs"] for c in stores)
        need = 0 if task["keep_output"] or task["passes_output"] else size
        if moved != need:
            self.broken("output not stored once", task["output"], moved, need, "bytes")
        for store in stores:
            step = self.commands[store]["step"]
            made = [r for r in runs if self.commands[r]["step"] <= step]
            if not made or self.starts[store] < max(self.ends[r] for r in made):
                self.broken("STORE before its RUN", f"command {store}", step, len(made), "")
        stays = task["keep_output"] or task["passes_output"]
        if stays and self.tensors[task["output"]]["is_output"]:
            self.broken("result stays on the chip", task["output"], size, 0, "bytes")

    def check_source(self, number: int, tensor: str, commands: list[int], runs: list[int]) -> None:
        """A source is there before it is read: loaded after its producer stored it, or on the chip
        after its producer made it."""
        task = self.tasks[number]
        if tensor in task["rings"]:
            self.rings.check(number, tensor, runs)
            commands = self.rings.loads(task["group"], tensor)
            if not commands:
                return
        makers = [i for i, other in enumerate(self.tasks) if other["output"] == tensor]
        if self.tensors[tensor]["is_input"]:
            if tensor in task["on_chip"]:
                self.broken("input is not on the chip", tensor, 1, 0, "")
        elif not makers:
            self.broken("nothing makes the tensor", tensor, 0, 1, "")
            return
        mine = ((c, self.commands[c]) for c in commands)
        loads = [i for i, c in mine if c["kind"] == "load" and c["tensor"] == tensor]
        if tensor not in task["on_chip"] and not loads:
            self.broken("source not loaded", tensor, 0, 1, "LOAD")
        for reader in runs if tensor in task["on_chip"] else loads:
            frames = self.commands[reader]["frames"]
            there = max((self.made(m, tensor, frames, task) for m in makers), default=0)
            if self.starts[reader] < there:
                where = f"'{tensor}' by command {reader}"
                self.broken("read before it is there", where, self.starts[reader], there, "cycles")

    def made(self, maker: int, tensor: str, frames: list[int], reader: Json) -> int:
        """When the frames of a tensor are where the reader expects them."""
        on_chip = tensor in reader["on_chip"]
        kept = self.tasks[maker]["keep_output"]
        if on_chip and not kept:
            self.broken("tensor is not on the chip", tensor, 1, 0, "")
        wanted = ("run",) if on_chip else ("store",)
        latest = -1
        for i, command in enumerate(self.commands):
            mine = command["task"] == maker or (
                command["role"] == "spill" and command["tensor"] == tensor
            )
            overlap = command["frames"][0] < frames[1] and frames[0] < command["frames"][1]
            if mine and overlap and command["kind"] in wanted:
                latest = max(latest, self.ends[i])
        if latest < 0:
            self.broken("tensor never arrives", tensor, 0, 1, "")
        return max(0, latest)

    def buffer_spans(self, by_task: Mapping[int, list[int]]) -> Iterator[tuple[int, int, int]]:
        """Begin, end and bytes of everything that lies in the buffer."""
        spilled = {
            c["tensor"]: self.ends[i] for i, c in enumerate(self.commands) if c["role"] == "spill"
        }
        groups: dict[int, list[int]] = defaultdict(list)
        for number, task in enumerate(self.tasks):
            groups[task["group"]] += by_task[number]
        for number, task in enumerate(self.tasks):
            if not by_task[number]:
                continue
            # layers of a fused task hold their buffers together
            first = min(self.starts[c] for c in groups[task["group"]])
            last = max(self.ends[c] for c in groups[task["group"]])
            yield first, last, task["working_bytes"]
            if task["keep_output"]:
                tensor = task["output"]
                ends = [spilled.get(tensor, 0)]
                for other, reader in enumerate(self.tasks):
                    if tensor in reader["on_chip"]:
                        runs = [c for c in by_task[other] if self.commands[c]["kind"] == "run"]
                        ends += [self.ends[c] for c in runs]
                runs = [c for c in by_task[number] if self.commands[c]["kind"] == "run"]
                begin = min((self.starts[c] for c in runs), default=first)
                yield begin, max(begin, *ends), self.tensors[tensor]["bytes"]

    def check_buffer(
        self, by_task: Mapping[int, list[int]], shifts: tuple[int, ...] = (0,)
    ) -> None:
        """Working sets and kept tensors of the jobs that start at ``shifts`` never exceed the
        buffer."""
        changes: Counter[int] = Counter()
        for begin, end, size in self.buffer_spans(by_task):
            for cycle in shifts:
                changes[begin + cycle] += size
                changes[end + cycle] -= size
        used = 0
        for cycle in sorted(changes):
            used += changes[cycle]
            if used > self.chip["buffer_bytes"]:
                started = [i for i, start in enumerate(self.starts) if start == cycle]
                where = f"cycle {cycle}, where commands {started} start"
                self.broken("buffer exceeded", where, used, self.chip["buffer_bytes"], "bytes")
                return

    def check_area(self) -> None:
        """Bound fragments never exceed the region. The fragments of the first configuration, which
        the next job finds bound, stay from their last binding on."""
        spans = self.binding_spans()
        of = {i: (b["fragment"], b["part"]) for i, b in self.bindings.items()}
        first = Counter(of[i] for i, b in self.bindings.items() if b["at_power_up"])
        for circuit, count in first.items():
            mine = [i for i in spans if of[i] == circuit]
            for instance in sorted(mine, key=lambda i: spans[i][0])[-count:]:
                spans[instance] = (spans[instance][0], float("inf"))
        for resource in ("multipliers", "lut", "local_bytes"):
            if self.region[resource] > self.chip[resource]:
                device = self.chip[resource]
                self.broken(
                    "region exceeds chip", "region", self.region[resource], device, resource
                )
            changes: Counter[float] = Counter()
            for instance, (begin, end) in spans.items():
                size = self.circuit(*of[instance])["area"][resource]
                changes[begin] += size
                changes[end] -= size
            used = 0
            for cycle in sorted(changes):
                used += changes[cycle]
                if used > self.region[resource]:
                    self.broken("area exceeded", cycle, used, self.region[resource], resource)
                    break

    def binding_spans(self) -> dict[int, tuple[float, float]]:
        """From when to when each binding certainly takes its area: from its BIND (or from power-up)
        to its last RUN."""
        spans = {}
        for instance, binding in self.bindings.items():
            begin: float = -1
            if not binding["at_power_up"]:
                begin = self.bind_end(instance) - self.bind_cycles(instance)
            end = max(
                (self.ends[i] for i, c in enumerate(self.commands) if c["instance"] == instance),
                default=begin,
            )
            spans[instance] = (begin, max(begin, end))
        return spans

    def bind_cycles(self, instance: int) -> int:
        found = (
            c["cycles"] for c in self.commands if c["kind"] == "bind" and c["instance"] == instance
        )
        return int(next(found, 0))
