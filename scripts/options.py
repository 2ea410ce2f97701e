"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from fragenv.schedule.problem import MAX_DEPTH

MaxDepth = Annotated[
    int,
    typer.Option(
        min=1,
        max=MAX_DEPTH,
        help="Multiply-accumulate operators on a task's critical path; above 1 layers are fused.",
    ),
]
