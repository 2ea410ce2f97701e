"""Agents as files: safetensors weights and a JSON of the configuration. Loading runs no code."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from agents.ppo.network import PolicyNetwork
from fragenv.env import observation, static
from fragenv.errors import FragenvError
from fragenv.serialize import read_json, write_bytes, write_json

FORMAT, VERSION = "fragenv-agent", 1
WEIGHTS, CONFIG = "weights.safetensors", "agent.json"


class AgentError(FragenvError):
    """An agent's folder is missing, damaged or of another version."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What is needed to build the network again, and where it comes from."""

    hidden: int = 48
    layers: int = 2
    trained_on: str = ""
    timesteps: int = 0
    seed: int = 0


def feature_names() -> dict[str, list[str]]:
    """The columns that the weights were trained for; agents of other columns are refused."""
    return {
        "node_static": list(static.NODE_STATIC),
        "choice_static": list(static.CHOICE_STATIC),
        "chip": list(static.CHIP),
        "node_dynamic": list(observation.NODE_DYNAMIC),
        "choice_dynamic": list(observation.CHOICE_DYNAMIC),
        "slots": list(observation.SLOTS),
        "global": list(observation.GLOBAL),
    }


def save_agent(network: PolicyNetwork, config: AgentConfig, folder: Path) -> None:
    """Write an agent into ``folder``, which is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AgentError(f"cannot make the folder '{folder}': {error.strerror}") from None
    write_bytes(folder / WEIGHTS, tensor_bytes(network.state_dict()))
    write_json(folder / CONFIG, FORMAT, VERSION, {**asdict(config), "features": feature_names()})


def tensor_bytes(tensors: dict[str, torch.Tensor]) -> bytes:
    """Tensors in the safetensors format."""
    return save_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file.

    Raises:
        AgentError: the file is missing or damaged.
    """
    try:
        return load_tensors(path.read_bytes())
    except OSError as error:
        raise AgentError(f"cannot read '{path}': {error.strerror}") from None
    except SafetensorError as error:
        raise AgentError(f"'{path}' is damaged: {error}") from None


def load_agent(folder: Path, device: str = "cpu") -> tuple[PolicyNetwork, AgentConfig]:
    """Read an agent.

    Raises:
        FragenvError: missing, damaged, or made by a version with other features.
    """
    data = read_json(folder / CONFIG, FORMAT, VERSION)
    if data.get("features") != feature_names():
        raise AgentError(
            f"the agent in '{folder}' was trained on other features than this version's; "
            "train it again"
        )
    config = AgentConfig(**{name: _field(data, name, folder) for name in AgentConfig.__slots__})
    network = PolicyNetwork(config.hidden, config.layers)
    try:
        network.load_state_dict(read_tensors(folder / WEIGHTS))
    except RuntimeError:
        raise AgentError(
            f"the weights in '{folder}' are damaged: they do not fit the configuration"
        ) from None
    return network.to(device).eval(), config


def _field(data: dict[str, Any], name: str, folder: Path) -> Any:
    wanted = str if name == "trained_on" else int
    value = data.get(name)
    sized = name in ("hidden", "layers")
    if not isinstance(value, wanted) or (sized and not 0 < int(value) < 4096):
        raise AgentError(f"'{folder / CONFIG}' is damaged: field '{name}' is missing or wrong")
    return value
