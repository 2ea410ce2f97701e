"""Schedulers without learning. Importing this package registers them."""

from agents.heuristics.annealing import AnnealingScheduler
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
)
for _scheduler in _ALL:
    SCHEDULERS.add(_scheduler.name, _scheduler)
