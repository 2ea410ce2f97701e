"""Fits the area model to synthesised fragments and shells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fragenv.hardware.area_model import BLOCKS, Coefficients, predict
from fragenv.hardware.resources import RESOURCES, Resources
from fragenv.synth.grid import Point
from fragenv.synth.netlist import synthesise
from fragenv.synth.tools import SynthesisError

#: a coefficient this close to an integer is one: whole multipliers and block RAMs are counted
_INTEGER = 0.02


@dataclass(frozen=True, slots=True)
class Measured:
    point: Point
    found: Resources


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
    """Coefficients of each kind of circuit: least squares of the relative errors, none of them
    negative, because nothing that is added makes a circuit smaller. Points that are held out are
    not looked at.

    Raises:
        SynthesisError: the points do not determine the coefficients.
    """
    model: dict[str, Coefficients] = {}
    for kind in ("fragment", "shell"):
        rows = [m for m in measured if m.point.kind == kind and not m.point.held_out]
        known = list(dict.fromkeys(n for m in rows for n in m.point.features))
        model[kind] = {r: _coefficients(kind, rows, known, r) for r in RESOURCES}
    return model


def _coefficients(
    kind: str, rows: Sequence[Measured], known: Sequence[str], resource: str
) -> dict[str, float]:
    names = [n for n in known if _matters(n, resource)]
    matrix = np.array([[m.point.features.get(n, 0.0) for n in names] for m in rows])
    if not names or np.linalg.matrix_rank(matrix) < len(names):
        raise SynthesisError(
            f"{len(rows)} circuits of kind '{kind}' do not determine the {len(names)} coefficients "
            f"of '{resource}'; synthesise more of the grid"
        )
    wanted = np.array([getattr(m.found, resource) for m in rows], float)
    weights = 1 / np.maximum(wanted, 1)
    found = nnls(matrix * weights[:, None], wanted * weights)[0]
    values = zip(names, (_rounded(float(v)) for v in found), strict=True)
    return {n: v for n, v in values if v}


def coarse_grained(xilinx: Mapping[str, Coefficients]) -> dict[str, Coefficients]:
    """A model of coarse-grained arrays, for which there is no synthesis tool here: an assumption.

    Their processing elements are the array's multipliers alone: requantisation has units of its own
    at the array's edge, as in NVDLA and Gemmini (Genc et al., DAC 2021). Other logic is counted as
    the tables of six inputs that it would replace; a memory tile holds the sums of an output lane.
    The shell is hard-wired, as Amber's global buffer is, and takes nothing of the array.
    """
    fragment = {
        **xilinx["fragment"],
        "dsp": {"multipliers": 1.0},
        "sram": {"array_lanes_out": 1.0},
    }
    return {"fragment": fragment, "shell": {name: {} for name in RESOURCES}}


def _matters(feature: str, resource: str) -> bool:
    """Whether a resource can depend on a feature."""
    if resource == "sram":
        return feature in BLOCKS
    # tables and registers stand around the memories' ports, not around each of their blocks
    return feature not in {"accumulator_blocks", "buffer_blocks"}


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
