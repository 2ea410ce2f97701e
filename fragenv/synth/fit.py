"""Fits the area model to a grid of synthesised fragments and shells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from fragenv.hardware.area_model import (
    BLOCKS,
    Coefficients,
    fragment_features,
    predict,
    shell_features,
)
from fragenv.hardware.chip import load_chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.hardware.resources import RESOURCES, Resources
from fragenv.synth.configurations import fragments_of, shell, shell_of, top_of
from fragenv.synth.netlist import Design, synthesise

MAC, POOL, ADD, DEPTHWISE, LRN = Stage.MAC, Stage.POOL, Stage.ADD, Stage.DEPTHWISE, Stage.LRN

#: (lanes_in, lanes_out, stages) of the fragments
FRAGMENTS: tuple[tuple[int, int, tuple[Stage, ...]], ...] = (
    *(
        (i, o, (MAC,))
        for i, o in ((1, 6), (4, 4), (8, 8), (4, 16), (16, 4), (7, 12), (3, 24), (16, 16))
    ),
    *(
        (i, o, stages)
        for i, o in ((4, 4), (8, 12))
        for stages in (
            (MAC, POOL),
            (MAC, ADD, DEPTHWISE, POOL),
            (POOL,),
            (ADD,),
            (LRN,),
        )
    ),
    *((1, o, (DEPTHWISE,)) for o in (4, 12)),
)
#: (chip, lanes of the circuits that are bound at once) of the shells
SHELLS = (
    ("ecp5-85", ((8, 8),)),
    ("ecp5-85", ((4, 4),)),
    ("ecp5-85", ((4, 16), (4, 4))),
    ("ecp5-85", ((4, 16), (4, 4), (8, 4))),
    ("cgra512", ((16, 16),)),
    ("cgra512", ((8, 32), (8, 8))),
    ("xc7z020", ((8, 16),)),
    ("xc7z020", ((8, 16), (8, 8))),
    ("xc7z045", ((16, 16),)),
)
#: a coefficient this close to an integer is one: whole multipliers and block RAMs are counted
_INTEGER = 0.02


@dataclass(frozen=True, slots=True)
class Point:
    """A circuit of the grid: what its resources depend on, and how it is synthesised."""

    kind: str
    name: str
    features: Mapping[str, float]
    design: Design


@dataclass(frozen=True, slots=True)
class Measured:
    point: Point
    found: Resources


def grid() -> list[Point]:
    """All circuits that the model is fitted to."""
    points = []
    chip = load_chip("ecp5-85")
    for lanes_in, lanes_out, stages in FRAGMENTS:
        fragment = Fragment(lanes_in, lanes_out, stages)
        design = next(iter(fragments_of(top_of(chip, (fragment,))).values()))
        features = fragment_features(lanes_in, lanes_out, stages)
        points.append(Point("fragment", fragment.key, features, design))
    for preset, shapes in SHELLS:
        fragments = [Fragment(i, o, (MAC, POOL)) for i, o in shapes]
        top = top_of(load_chip(preset), fragments)
        measures = shell_of(top)
        features = shell_features(
            measures.buffer_bytes, measures.readers, measures.writers, measures.circuits
        )
        name = f"{preset} {' '.join(f'{i}x{o}' for i, o in shapes)}"
        points.append(Point("shell", name, features, shell(top)))
    return points


def synthesise_all(
    points: Sequence[Point], family: str, jobs: int, progress: Callable[[str], None]
) -> list[Measured]:
    """The resources of all points, ``jobs`` at a time; what is known is not synthesised again.

    Raises:
        SynthesisError: Yosys is not there or refuses a circuit.
    """
    found: dict[int, Resources] = {}
    with ThreadPoolExecutor(jobs) as pool:
        runs = {pool.submit(synthesise, p.design, family): i for i, p in enumerate(points)}
        try:
            for run in as_completed(runs):
                found[runs[run]] = run.result()
                progress(points[runs[run]].name)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [Measured(point, found[i]) for i, point in enumerate(points)]


def fit(measured: Sequence[Measured]) -> dict[str, Coefficients]:
    """Coefficients of each kind of circuit: least squares of the relative errors."""
    model: dict[str, Coefficients] = {}
    for kind in dict.fromkeys(m.point.kind for m in measured):
        rows = [m for m in measured if m.point.kind == kind]
        known = list(dict.fromkeys(n for m in rows for n in m.point.features))
        model[kind] = {}
        for resource in RESOURCES:
            names = [n for n in known if _matters(n, resource)]
            matrix = np.array([[m.point.features.get(n, 0.0) for n in names] for m in rows])
            wanted = np.array([getattr(m.found, resource) for m in rows], float)
            weights = 1 / np.maximum(wanted, 1)
            found = np.linalg.lstsq(matrix * weights[:, None], wanted * weights, rcond=1e-9)[0]
            values = zip(names, (_rounded(float(v)) for v in found), strict=True)
            model[kind][resource] = {n: v for n, v in values if v}  # type: ignore[index]
    return model


def coarse_grained(xilinx: Mapping[str, Coefficients]) -> dict[str, Coefficients]:
    """A model of coarse-grained arrays, for which there is no synthesis tool here: an assumption.

    Their processing elements are the array's multipliers alone: requantisation has units of its own
    at the array's edge, as in NVDLA and Gemmini (Genc et al., DAC 2021). Other logic is counted as
    the tables of six inputs that it would replace; a memory tile holds the sums of an output lane.
    """
    fragment = {**xilinx["fragment"], "dsp": {"multipliers": 1.0}}
    fragment["sram"] = {"array_lanes_out": 1.0}
    return {"fragment": fragment, "shell": {**xilinx["shell"], "sram": {}}}


def _matters(feature: str, resource: str) -> bool:
    """Whether a resource can depend on a feature."""
    if resource == "sram":
        return feature in BLOCKS
    return feature != "accumulator_blocks"  # the tables around a buffer's blocks are many


def _rounded(value: float) -> float:
    near = round(value)
    return float(near) if abs(value - near) < _INTEGER else float(f"{value:.5g}")


@dataclass(frozen=True, slots=True)
class Checked:
    """A point beside its prediction."""

    measured: Measured
    predicted: Resources

    def error(self, resource: str) -> float:
        """Relative error of the prediction."""
        found: int = getattr(self.measured.found, resource)
        predicted: int = getattr(self.predicted, resource)
        return (predicted - found) / max(found, 1)


def check(measured: Iterable[Measured], model: Mapping[str, Coefficients]) -> list[Checked]:
    """Every point with the model's prediction."""
    return [Checked(m, predict(model[m.point.kind], m.point.features)) for m in measured]
