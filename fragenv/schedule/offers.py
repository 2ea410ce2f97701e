"""What a problem offers: every occurrence of a pattern on every fragment that can run it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fragenv.errors import FragenvError, InfeasibleError, Violation
from fragenv.patterns.mine import mine
from fragenv.schedule.choices import Choice, circuit_for, circuits_for
from fragenv.schedule.fused import FusedSearch
from fragenv.schedule.layers import FusedPattern, FusedShape, split
from fragenv.schedule.shape import TaskShape, task_shape
from fragenv.schedule.tiling_search import smallest_bytes

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem


@dataclass(frozen=True, slots=True)
class Chain:
    """An occurrence that one circuit runs in one pass."""

    pattern: str
    operators: tuple[str, ...]
    shape: TaskShape


@dataclass(frozen=True, slots=True)
class Fusion:
    """An occurrence of several layers."""

    pattern: str
    layers: FusedPattern


def occurrences(problem: Problem) -> tuple[list[Chain], list[Fusion]]:
    """Every occurrence that fragments may run, those that fuse most first.

    Raises:
        FragenvError: there is none.
    """
    graph, parts = problem.graph, problem.parts
    chains, fusions = [], []
    for mined in mine(graph, problem.max_depth):
        for occurrence in mined.occurrences:
            names = tuple(n for n in occurrence.operators if n in problem.node_of)
            if not names:
                continue
            if len(names) == len(occurrence.operators):
                shape = task_shape(graph, names, parts)
                if shape is not None:
                    chains.append(Chain(mined.pattern.name, names, shape))
                    continue
            layers = split(graph, occurrence.operators, parts) if problem.max_depth > 1 else None
            if layers is not None:
                fusions.append(Fusion(mined.pattern.name, layers))
    if not chains:
        raise FragenvError(f"{graph.name}: no operator can run on a fragment")
    chains.sort(key=lambda c: (-len(c.operators), c.pattern, c.operators))
    fusions.sort(key=lambda f: (-sum(map(len, f.layers.operators)), f.pattern, f.layers.operators))
    return chains, fusions


class Offers:
    """Builds the choices of a problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.numbers: dict[TaskShape | FusedShape, int] = {}
        self._least: dict[tuple[int, int, bool], int] = {}

    def choices(self, chains: list[Chain], fusions: list[Fusion]) -> tuple[tuple[Choice, ...], ...]:
        """Per operator its choices, those that fuse most first.

        Raises:
            InfeasibleError: an operator fits no fragment, or no tiling fits the buffer.
        """
        problem = self.problem
        choices: list[list[Choice]] = [[] for _ in problem.operators]
        for fusion in fusions:
            for choice in self._fused(fusion):
                choices[choice.node].append(choice)
        for chain in chains:
            for choice in self._single(chain):
                choices[choice.node].append(choice)
        singles = (c for options in choices for c in options if not c.layers)
        covered = {node for choice in singles for node in choice.operators}
        for node in range(len(choices)):
            if node not in covered:
                name = problem.operators[node].name
                self._refuse(node, [c.shape for c in chains if name in c.operators])
        return tuple(tuple(options) for options in choices)

    def _single(self, chain: Chain) -> list[Choice]:
        """The legal choices for one occurrence: fragments that implement it and have a tiling that
        fits the buffer, with the output in DRAM, and on the chip where it fits too."""
        problem, shape = self.problem, chain.shape
        nodes = tuple(problem.node_of[name] for name in chain.operators)
        output = problem.tensor_of[problem.operators[nodes[-1]].output]
        sources = tuple(problem.tensor_of[s.tensor] for s in (*shape.sources, *shape.residuals))
        number = self._number(shape.without_names())
        result = []
        for index, fragment in enumerate(problem.library):
            circuit = circuit_for(shape, fragment)
            if circuit is None:
                continue
            choice = Choice(
                nodes[0],
                nodes,
                chain.pattern,
                index,
                (circuit,),
                False,
                sources,
                (output,),
                shape,
                number,
            )
            result += self._kept_and_not(choice)
        return result

    def _fused(self, fusion: Fusion) -> list[Choice]:
        """The legal choices for the layers of one occurrence."""
        problem, pattern = self.problem, fusion.layers
        shape = pattern.shape
        made = [problem.tensor_of[t] for t in pattern.tensors]
        inputs = tuple(problem.tensor_of[t] for t in pattern.inputs)
        outputs = tuple(t for t, layer in zip(made, shape.layers, strict=True) if layer.leaves)
        nodes = sorted(problem.node_of[n] for names in pattern.operators for n in names)
        number = self._number(shape)
        result = []
        for index, fragment in enumerate(problem.library):
            circuits = circuits_for(shape, fragment)
            if circuits is None:
                continue
            layers = []
            for i, layer in enumerate(shape.layers):
                own = tuple(problem.node_of[n] for n in pattern.operators[i])
                sources = tuple(made[w.index] if w.inside else inputs[w.index] for w in layer.reads)
                layers.append(
                    Choice(
                        own[0],
                        own,
                        fusion.pattern,
                        index,
                        (circuits[i],),
                        False,
                        sources,
                        (made[i],),
                        layer.shape,
                        self._number(layer.shape),
                    )
                )
            choice = Choice(
                nodes[0],
                tuple(nodes),
                fusion.pattern,
                index,
                tuple(dict.fromkeys(circuits)),
                False,
                inputs,
                outputs,
                layers[-1].shape,
                number,
                tuple(layers),
                shape,
            )
            result += self._kept_and_not(choice)
        return result

    def _kept_and_not(self, choice: Choice) -> list[Choice]:
        """The choice with its outputs in DRAM and on the chip, as far as either is possible."""
        problem = self.problem
        result = []
        for keep in (False, True):
            kept = choice.outputs if keep else ()
            if any(t in problem.required or not problem.readers[t] for t in kept):
                continue
            room = problem.chip.buffer_bytes - sum(problem.tensor_bytes[t] for t in kept)
            variant = replace(
                choice,
                keep=keep,
                layers=tuple(replace(c, keep=c.output in kept) for c in choice.layers),
            )
            if room >= self._smallest(variant):
                result.append(variant)
        return result

    def _number(self, shape: TaskShape | FusedShape) -> int:
        number = self.numbers.setdefault(shape, len(self.numbers))
        if number == len(self.problem.shapes):
            self.problem.shapes.append(shape)
        return number

    def _smallest(self, choice: Choice) -> int:
        """Bytes of the smallest working set of a task, nothing on the chip yet."""
        # that of fused layers does not depend on their circuits
        fragment = choice.fragment if choice.fused is None else -1
        key = (choice.shape_index, fragment, choice.keep)
        if key not in self._least:
            port = self.problem.port
            if choice.fused is not None:
                fused = self.problem.fused_setting(choice, choice.fused, 0)
                self._least[key] = FusedSearch(fused, port).smallest_bytes()
            else:
                self._least[key] = smallest_bytes(self.problem.setting(choice, 0), port)
        return self._least[key]

    def _refuse(self, node: int, shapes: list[TaskShape]) -> None:
        problem = self.problem
        op = problem.operators[node]
        where = f"operator '{op.name}' ({op.kind}) on chip '{problem.chip.name}'"
        numbers = {self._number(s.without_names()) for s in shapes}
        least = [size for (shape, _, _), size in self._least.items() if shape in numbers]
        if not least:
            raise InfeasibleError(
                Violation("no fragment fits", where, 1, 0, "fragments"),
                "choose a chip with more multipliers, LUTs or local SRAM",
            )
        raise InfeasibleError(
            Violation(
                "tensor buffer too small", where, min(least), problem.chip.buffer_bytes, "bytes"
            ),
            "choose a chip with more on-chip SRAM",
        )
