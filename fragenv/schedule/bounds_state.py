"""What a schedule costs at least that goes on from a state: bounds for exact search.

Each figure is the largest of several bounds, none of which any continuation can beat:

* path: what is there, and the tasks that depend on it one after the other, each at its fastest
  (longest path; per task see ``bounds_plan``). Behind a tensor, all bytes of what depends on it
  pass the DRAM port, but for those that the buffer can hold before;
* port: what the DMA has done and what every operator moves at least, one command at a time;
* region: what was run and configured and what every operator runs at least, at prices that no
  circuits that fit the region exceed (``bounds_compute``); no RUN before the first load, none after
  the last store;
* configuration: every eviction costs a configuration before the job's end, because the next job
  finds bound what this one found.

Futures are told apart: either only fragments run that are bound or fit the area that nothing has
used yet, or another one is swapped in and pays for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from fragenv.hardware.timing import ceil_div
from fragenv.schedule.bounds_compute import Circuit, circuit_prices
from fragenv.schedule.bounds_plan import NEVER, TaskLeast, layer_work
from fragenv.schedule.bounds_task import MAX_SETTINGS, TaskBounds
from fragenv.schedule.state import DRAM, NOWHERE, SRAM, BindRecord, State, TaskRecord
from fragenv.schedule.timeline import Timeline

if TYPE_CHECKING:
    from fragenv.schedule.choices import Choice
    from fragenv.schedule.problem import Problem

#: from the first frame's and from the last frame's arrival to the end of the job, in cycles
Tail = tuple[int, int]


class Least(NamedTuple):
    """What a schedule takes at least, cycles and bytes."""

    latency_cycles: int
    traffic_bytes: int


class Parts(NamedTuple):
    """The bounds of one kind of future, one by one. The latency is at least each of the cycles."""

    path_cycles: int
    port_cycles: int
    region_cycles: int
    config_cycles: int
    traffic_bytes: int
    #: of a job that follows another: cycles of the busiest of port, region and configuration port
    period_cycles: int

    @property
    def least(self) -> Least:
        return Least(max(1, *self[:4]), self.traffic_bytes)


class Configured(NamedTuple):
    """What configurations take: bytes, cycles of the port, and the price of the circuits, whose
    area is taken meanwhile."""

    bytes: int
    cycles: int
    price: float


_NOTHING = Configured(0, 0, 0.0)


def _sum(parts: Iterable[Configured]) -> Configured:
    found = list(parts) or [_NOTHING]
    return Configured(*(sum(column) for column in zip(*found, strict=True)))


def _least_of(parts: Iterable[Configured]) -> Configured:
    """The least of each figure."""
    found = list(parts) or [_NOTHING]
    return Configured(*(min(column) for column in zip(*found, strict=True)))


class StateBounds:
    """Bounds for the states of a problem; its tables are made once, when first needed.

    Args:
        problem: whose states are bounded.
        max_settings: see ``bounds_task.MAX_SETTINGS``.
        watch: called before each task that is worked out; it may raise to end that.
    """

    def __init__(
        self,
        problem: Problem,
        max_settings: int = MAX_SETTINGS,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.problem = problem
        self.tasks = TaskBounds(problem, max_settings, watch)
        self._tables: dict[frozenset[int], _Tables] = {}
        #: fragments that some choice runs on
        self.everything = frozenset(c.fragment for options in problem.choices for c in options)
        whole = self._of(self.everything)
        works = [whole.circuits(node) for node in range(len(problem.operators))]
        self.prices, _ = circuit_prices(problem, works)
        #: per fragment: what it takes to swap it in
        self._config = [
            Configured(
                problem.config_bytes[f],
                problem.bind_cycles[f],
                sum(
                    self.prices.get((f, part), 0.0) * cycles
                    for part, cycles in enumerate(problem.part_bind_cycles[f])
                ),
            )
            for f in range(len(problem.library))
        ]

    def futures(self, state: State) -> list[Parts]:
        """The bounds of each kind of future; every schedule that goes on from ``state`` is of one
        of them."""
        if state.finished:
            whole = state.latency_cycles
            period = state.period_cycles
            return [Parts(whole, whole, whole, whole, state.traffic_bytes, period)]
        problem = self.problem
        missing = _missing(state)
        due = _sum(self._config[f] for f in missing)
        at_hand = frozenset(f for f in range(len(problem.library)) if self._at_hand(state, f))
        futures = [self._parts(state, at_hand & self.everything, due)]
        if not self.everything <= at_hand:
            due = _sum((due, self._swap(state, at_hand, missing)))
            futures.append(self._parts(state, self.everything, due))
        return [f for f in futures if f.path_cycles >= 0] or futures[-1:]

    def least(self, state: State) -> list[Least]:
        """``futures``, each as the latency and the traffic that it takes at least."""
        return [parts.least for parts in self.futures(state)]

    def _at_hand(self, state: State, fragment: int) -> bool:
        """Whether a fragment is bound, or one that stands in for it, or could be bound in area
        that nothing has used yet; without an eviction it can then run at any time to come, and
        otherwise at none."""
        problem = self.problem
        able = problem.substitutes[fragment]
        return any(problem.areas[f].fits(state.untouched) for f in able) or any(
            slot is not None and slot.fragment in able for slot in state.slots
        )

    def _swap(self, state: State, at_hand: frozenset[int], missing: list[int]) -> Configured:
        """What swapping in a fragment that is not at hand costs at least, beside what is missing:
        its configuration, and as long as nothing was evicted, that of one that gives way and must
        be back in the end."""
        others = [f for f in range(len(self._config)) if f not in at_hand]
        if not set(others).isdisjoint(missing):
            return _NOTHING
        due = _least_of(self._config[f] for f in others)
        if not state.area_releases and not state.config_bytes:
            due = _sum((due, _least_of(self._config[f] for f in at_hand)))
        return due

    def _of(self, fragments: frozenset[int]) -> _Tables:
        if fragments not in self._tables:
            self._tables[fragments] = _Tables(self.problem, self.tasks, fragments)
        return self._tables[fragments]

    def _parts(self, state: State, fragments: frozenset[int], due: Configured) -> Parts:
        """The bounds of futures that run on ``fragments`` alone and in which ``due`` has still to
        be configured; a negative path where they cannot run what is left."""
        problem, tables = self.problem, self._of(fragments)
        path = state.latency_cycles
        for tensor, where in enumerate(state.location):
            if where == NOWHERE or not state.unread[tensor]:
                continue
            ready = state.ready[tensor]
            first, last = min(ready), max(ready)
            for node in tables.readers[tensor]:
                if not state.done[node]:
                    tail = tables.tail(node, tensor, where)
                    if tail is None:
                        return Parts(-1, 0, 0, 0, 0, 0)
                    path = max(path, first + tail[0], last + tail[1])
        moved, port, region = state.traffic_bytes, busy_cycles(state.dma), self._spent(state)
        for node, done in enumerate(state.done):
            if done:
                continue
            in_dram = frozenset(t for t in tables.read_by[node] if state.location[t] == DRAM)
            size, cycles = tables.moved(node, in_dram)
            moved += size
            port += cycles
            region += tables.cheapest(node, self.prices)
        ends = 0 if self.tasks.padded else 2 * problem.port.cycles(1)
        run = int(region + due.price)
        config = busy_cycles(state.config_port) + due.cycles
        period = max(1, port, run, config)
        return Parts(path, port, run + ends, config, moved + due.bytes, period)

    def _spent(self, state: State) -> float:
        """What the RUNs and configurations of a state cost at the circuits' prices."""
        total = 0.0
        link = state.history
        while link is not None:
            record = link[0]
            if isinstance(record, TaskRecord):
                total += self._record_price(record)
            elif isinstance(record, BindRecord) and record.start is not None:
                assert record.end is not None
                price = self.prices.get((record.fragment, record.part), 0.0)
                total += price * (record.end - record.start)
            link = link[1]  # type: ignore[assignment]
        return total

    def _record_price(self, record: TaskRecord) -> float:
        choice = record.choice
        layers = [c.circuits[0] for c in choice.chains]
        if not choice.layers:
            return record.plan.run_cycles * self.prices.get((choice.fragment, layers[0]), 0.0)
        works = layer_work(record.plan)
        return sum(
            w.run_cycles * self.prices.get((choice.fragment, part), 0.0)
            for w, part in zip(works, layers, strict=True)
        )


def busy_cycles(timeline: Timeline) -> int:
    """How long a unit works."""
    count = timeline.count
    return int((timeline.ends[:count] - timeline.starts[:count]).sum())


def _missing(state: State) -> list[int]:
    """Fragments of the first configuration that are not bound any more."""
    missing = list(state.first_fragments)
    for slot in state.slots:
        if slot is not None and slot.fragment in missing:
            missing.remove(slot.fragment)
    return missing


class _Tables:
    """What operators take at least on some fragments alone. Not a number that depends on clocks."""

    def __init__(self, problem: Problem, tasks: TaskBounds, fragments: frozenset[int]) -> None:
        self.problem, self.tasks = problem, tasks
        #: per node: (choice, number of the layer) of the tasks that the node heads a layer of
        self.headed: list[list[tuple[Choice, int]]] = [[] for _ in problem.operators]
        #: per node and tensor: tasks in which the node reads the tensor from outside
        self.reading: dict[tuple[int, int], list[Choice]] = {}
        #: nodes that head a layer of whatever task they run in
        heads = [True] * len(problem.operators)
        for options in problem.choices:
            for choice in options:
                if choice.fragment not in fragments:
                    continue
                for number, chain in enumerate(choice.chains):
                    self.headed[chain.node].append((choice, number))
                    for node in chain.operators[1:]:
                        heads[node] = False
                for node in choice.operators:
                    for tensor in problem.reads[node]:
                        if tensor in choice.sources:
                            self.reading.setdefault((node, tensor), []).append(choice)
        self.heads = [i for i, head in enumerate(heads) if head]
        #: tensors that the tasks with the node at the head of a layer may read
        self.read_by = [
            frozenset(t for choice, _ in headed for t in choice.sources) for headed in self.headed
        ]
        self.readers: list[list[int]] = [[] for _ in problem.tensors]
        for node, read in enumerate(problem.reads):
            for tensor in read:
                self.readers[tensor].append(node)
        self._tails: dict[tuple[int, int, int], Tail | None] = {}
        self._moved: dict[tuple[int, frozenset[int]], tuple[int, int]] = {}
        self._cheapest: dict[int, float] = {}

    def moved(self, node: int, in_dram: frozenset[int]) -> tuple[int, int]:
        """Bytes, and cycles of the DMA, that a node takes at least; 0 where its work may be part
        of what another node heads."""
        key = node, in_dram
        if key not in self._moved:
            found = (0, 0)
            if node in self.heads:
                works = [
                    least.layers[number]
                    for choice, number in self.headed[node]
                    for least in self.tasks.variants(choice, in_dram)
                ]
                found = (
                    min((w.moved_bytes for w in works), default=0),
                    min((w.dma_cycles for w in works), default=0),
                )
            self._moved[key] = found
        return self._moved[key]

    def circuits(self, node: int) -> dict[Circuit, int]:
        """Cycles of a node's RUNs on each circuit at least; none where another node may head its
        task."""
        found: dict[Circuit, int] = {}
        if node not in self.heads:
            return found
        for choice, number in self.headed[node]:
            part = choice.chains[number].circuits[0]
            cycles = min(v.layers[number].run_cycles for v in self.tasks.variants(choice))
            # another fragment may stand in, circuit for circuit
            for fragment in self.problem.substitutes[choice.fragment]:
                key = fragment, part
                found[key] = min(found.get(key, cycles), cycles)
        return found

    def cheapest(self, node: int, prices: dict[Circuit, float]) -> float:
        """The least that a node's RUNs cost at the prices of all circuits."""
        if node not in self._cheapest:
            costs = [n * prices.get(c, 0.0) for c, n in self.circuits(node).items()]
            self._cheapest[node] = min(costs, default=0.0)
        return self._cheapest[node]

    def tail(self, node: int, tensor: int, where: int) -> Tail | None:
        """From a tensor's first and last frame to the end of the job, by way of a node that reads
        it and has not run; None where no task of these fragments can.

        Args:
            node: the reader.
            tensor: what it reads.
            where: where the tensor is when it is made: ``SRAM`` or ``DRAM``.
        """
        key = node, tensor, where
        if key not in self._tails:
            self._tails[key] = self._tail(node, tensor, where)
        return self._tails[key]

    def _tail(self, node: int, tensor: int, where: int) -> Tail | None:
        found: list[Tail] = []
        in_dram = frozenset({tensor}) if where == DRAM else frozenset[int]()
        for choice in self.reading.get((node, tensor), []):
            after = [self._after(t, SRAM if choice.keep else DRAM) for t in choice.outputs]
            if any(tail is None for tail in after):
                continue
            tails = [tail for tail in after if tail is not None]
            source = choice.sources.index(tensor)
            found += [_joined(v, source, tails) for v in self.tasks.variants(choice, in_dram)]
        if not found:
            return None
        first, last = min(f for f, _ in found), min(n for _, n in found)
        return max(first, self._streamed(node)), last

    def _after(self, tensor: int, where: int) -> Tail | None:
        """From a tensor that has just been made, all its readers to come."""
        result = (0, 0)
        for node in self.readers[tensor]:
            tail = self.tail(node, tensor, where)
            if tail is None:
                return None
            result = max(result[0], tail[0]), max(result[1], tail[1])
        return result

    def _streamed(self, node: int) -> int:
        """Cycles for the bytes of a node and all that depends on it which cannot lie in the buffer
        before."""
        if self.tasks.padded:
            return 0
        nodes = {node} | self.tasks.descendants[node]
        moved = sum(self.moved(n, frozenset())[0] for n in nodes)
        chip = self.problem.chip
        return max(0, ceil_div(moved - chip.buffer_bytes, chip.dram_bytes_per_cycle))


def _joined(task: TaskLeast, source: int, tails: list[Tail]) -> Tail:
    """From a task's source by way of the task to the end of the job."""
    times = task.sources[source]
    first, last = times.end, NEVER
    for output, (after_first, after_last) in zip(times.outputs, tails, strict=True):
        first = max(first, output.whole + after_last, output.first + after_first)
        last = max(last, output.last + after_last)
    return first, last
