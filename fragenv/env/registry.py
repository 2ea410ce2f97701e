"""The registered environments: one table of ids, networks, default chips and batches."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium

ENTRY_POINT = "fragenv.env.env:FragmentEnv"


@dataclass(frozen=True, slots=True)
class Registered:
    """Defaults of an id; ``model`` is a name of the zoo."""

    model: str
    chip: str = "cgra512"
    batch: int = 1


ENVIRONMENTS: dict[str, Registered] = {
    "AlexNetChip-v0": Registered("alexnet"),
    "VGG16Chip-v0": Registered("vgg16"),
    "ResNet18Chip-v0": Registered("resnet18"),
    "ResNet50Chip-v0": Registered("resnet50"),
    "GoogLeNetChip-v0": Registered("googlenet"),
    "SqueezeNetChip-v0": Registered("squeezenet"),
    "MobileNetV2Chip-v0": Registered("mobilenetv2"),
    "LeNetChip-v0": Registered("lenet"),
}
#: for any model: needs the keyword argument ``model``
MODEL_ENVIRONMENT = "ModelChip-v0"


def register_all() -> None:
    """Register every id with Gymnasium; the classes are imported when one is made."""
    for name, entry in ENVIRONMENTS.items():
        kwargs = {"model": entry.model, "chip": entry.chip, "batch": entry.batch}
        gymnasium.register(name, entry_point=ENTRY_POINT, kwargs=kwargs)
    gymnasium.register(MODEL_ENVIRONMENT, entry_point=ENTRY_POINT)
