"""The registered environments: one table of ids, networks, default chips and batches."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import gymnasium

from fragenv.errors import FragenvError

ENTRY_POINT = "fragenv.env.env:FragmentEnv"


@dataclass(frozen=True, slots=True)
class Registered:
    """Defaults of an id; ``model`` is a name of the zoo."""

    model: str
    chip: str = "cgra512"
    batch: int = 1


#: each with a preset and a batch on which search wins 4 to 16% over the best uniform fragment, by
#: results/reference/headroom; on most other pairs there is less to win
ENVIRONMENTS: dict[str, Registered] = {
    "AlexNetChip-v0": Registered("alexnet", "xc7vx485t", 8),
    "VGG16Chip-v0": Registered("vgg16", "ecp5-85", 8),
    "ResNet18Chip-v0": Registered("resnet18", "cgra512", 8),
    "ResNet50Chip-v0": Registered("resnet50", "xc7z045", 1),
    "GoogLeNetChip-v0": Registered("googlenet", "ecp5-85", 8),
    "SqueezeNetChip-v0": Registered("squeezenet"),
    "MobileNetV2Chip-v0": Registered("mobilenetv2", "xc7vx485t", 8),
    "LeNetChip-v0": Registered("lenet", "zu7ev", 1),
}
#: for any model: needs the keyword argument ``model``
MODEL_ENVIRONMENT = "ModelChip-v0"
#: for networks that a generator draws
GENERATED_ENVIRONMENT = "GeneratedChip-v0"
GENERATED_ENTRY_POINT = "fragenv.env.generated:GeneratedEnv"


def register_all() -> None:
    """Register every id with Gymnasium; the classes are imported when one is made."""
    for name, entry in ENVIRONMENTS.items():
        kwargs = {"model": entry.model, "chip": entry.chip, "batch": entry.batch}
        gymnasium.register(name, entry_point=ENTRY_POINT, kwargs=kwargs)
    gymnasium.register(MODEL_ENVIRONMENT, entry_point=ENTRY_POINT)
    gymnasium.register(GENERATED_ENVIRONMENT, entry_point=GENERATED_ENTRY_POINT)


def lookup(
    env: str,
    model: str | None,
    chip: str | None,
    batch: int | None,
    max_depth: int = 1,
    objective: str = "latency",
) -> tuple[str, dict[str, Any]]:
    """The model's name and the environment's keyword arguments for an id of the command line;
    ``chip`` and ``batch`` replace the id's defaults, ``max_depth`` above 1 fuses layers,
    ``objective`` is "latency" or "throughput". ``GENERATED_ENVIRONMENT`` has no model: its name is
    empty.

    Raises:
        FragenvError: an unknown id, or a model where the id has its own, or none where it has not.
    """
    known = [*ENVIRONMENTS, MODEL_ENVIRONMENT, GENERATED_ENVIRONMENT]
    if env not in known:
        close = get_close_matches(env, known, 1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise FragenvError(f"unknown environment '{env}'; {hint}known are {', '.join(known)}")
    if env == MODEL_ENVIRONMENT:
        if model is None:
            raise FragenvError(f"{env} needs a model: give --model FILE.onnx")
        entry = Registered(model)
    elif model is not None:
        raise FragenvError(f"{env} has its own model; use --env {MODEL_ENVIRONMENT} with --model")
    elif env == GENERATED_ENVIRONMENT:
        entry = Registered("")
    else:
        entry = ENVIRONMENTS[env]
    own = {"model": entry.model} if entry.model else {}
    kwargs = {
        **own,
        "chip": chip or entry.chip,
        "batch": batch or entry.batch,
        "max_depth": max_depth,
        "objective": objective,
    }
    return entry.model, kwargs
