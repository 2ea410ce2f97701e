"""The fragments of a chip on which the latencies of all cells are measured.

``Problem`` makes a library for each network. Cells are to be compared, so theirs is the same for
all: fragments that stay bound together, so that no swap decides, chosen once per chip, skeleton and
batch on a network that holds every operator of a cell.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

from fragenv.generate.architecture import INPUT, OPERATORS, OUTPUT, Architecture
from fragenv.generate.quick import quick_schedule
from fragenv.generate.skeleton import Skeleton, build_graph
from fragenv.hardware.chip import Area, Chip
from fragenv.hardware.fragment import Fragment, FusedFragment, Stage
from fragenv.schedule.problem import Problem

#: fragments with an array of multipliers in the set, at most
MOST_ARRAYS = 3

Library = tuple[Fragment | FusedFragment, ...]


def probe() -> Architecture:
    """The cell with every operator once: one after the other, the input added to what comes out."""
    last = len(OPERATORS) + 1
    chain = [(node, node + 1) for node in range(last)]
    return Architecture((INPUT, *OPERATORS, OUTPUT), (*chain, (0, last)), "probe")


@lru_cache(maxsize=64)
def cell_library(chip: Chip, skeleton: Skeleton, batch: int) -> Library:
    """One to three array fragments, and what fits beside them of those without an array.

    Candidates are the fragments that ``build_library`` makes for the network of ``probe``; of all
    sets that fit the chip together the one is taken whose quick schedule of that network costs
    least, of equal ones the one with fewer fragments. Some seconds, once.

    Raises:
        InfeasibleError: the network of ``probe`` does not run on the chip.
    """
    graph = build_graph(probe(), skeleton)
    offered = Problem(graph, chip, batch)
    arrays = [f for f in offered.library if Stage.MAC in f.stages]
    others = [f for f in offered.library if Stage.MAC not in f.stages]
    best: tuple[float, Library] | None = None
    for count in range(1, MOST_ARRAYS + 1):
        for chosen in combinations(arrays, count):
            library = _filled(chosen, others, chip)
            if library is None:
                continue
            problem = Problem(graph, chip, batch, library=library)
            # over the bounds of one problem: those of another library may differ
            cost = offered.cost(quick_schedule(problem))
            if best is None or cost < best[0]:
                best = cost, library
    assert best is not None  # every fragment of a library fits the chip alone
    return best[1]


def _filled(
    arrays: tuple[Fragment | FusedFragment, ...],
    others: list[Fragment | FusedFragment],
    chip: Chip,
) -> Library | None:
    """The arrays, and as many of the others, in their order, as fit beside them; None where the
    arrays alone do not fit together."""
    room, chosen = chip.area, list(arrays)
    areas = {
        f: sum((part.bound_area(chip) for part in f.parts), Area()) for f in (*arrays, *others)
    }
    for fragment in arrays:
        if not areas[fragment].fits(room):
            return None
        room = room - areas[fragment]
    for fragment in others:
        if areas[fragment].fits(room):
            room = room - areas[fragment]
            chosen.append(fragment)
    return tuple(chosen)
