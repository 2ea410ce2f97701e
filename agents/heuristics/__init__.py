"""Schedulers without learning. Importing this package registers them."""

from agents.exact.scheduler import ExactScheduler
from agents.heuristics.annealing import AnnealingScheduler
from agents.heuristics.genetic import GeneticScheduler
from agents.heuristics.ideals import IdealScheduler
from agents.heuristics.neighbourhood import NeighbourhoodScheduler
from agents.heuristics.ranks import ListScheduler
from agents.heuristics.restarts import RestartScheduler
from agents.heuristics.simple import (
    BeamScheduler,
    GreedyScheduler,
    RandomScheduler,
    StaticSetScheduler,
    UniformScheduler,
)
from agents.scheduler import SCHEDULERS, Scheduler

_ALL: tuple[Scheduler, ...] = (
    RandomScheduler(),
    GreedyScheduler(),
    UniformScheduler(),
    StaticSetScheduler(),
    BeamScheduler(),
    AnnealingScheduler(),
    ListScheduler(),
    IdealScheduler(),
    RestartScheduler(),
    NeighbourhoodScheduler(),
    GeneticScheduler(),
    ExactScheduler(),
)
for _scheduler in _ALL:
    SCHEDULERS.add(_scheduler.name, _scheduler)
