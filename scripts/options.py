"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from fragenv.schedule.objective import Objective
from fragenv.schedule.problem import MAX_DEPTH

MaxDepth = Annotated[
    int,
    typer.Option(
        min=1,
        max=MAX_DEPTH,
        help="Multiply-accumulate operators on a task's critical path; above 1 layers are fused.",
    ),
]

SchedulerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scheduler",
        help="A registered scheduler to compare with; give it again for more. Default: all.",
    ),
]

SecondsOption = Annotated[
    float,
    typer.Option(
        "--seconds",
        min=0.0,
        help="Seconds of each scheduler at most; a star in the table says whom they stopped. "
        "0: no limit, and results that are the same on every machine.",
    ),
]

ObjectiveOption = Annotated[
    Objective,
    typer.Option(
        "--objective",
        help="latency: one job soon. throughput: frames per second of jobs that overlap, two under "
        "way at once; the cost then counts the cycles from one job to the next.",
    ),
]
