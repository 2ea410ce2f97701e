"""Training: MaskablePPO on copies of one environment, resumable, the best policy kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.ppo.checkpoint import (
    WEIGHTS,
    AgentConfig,
    AgentError,
    read_tensors,
    save_agent,
    tensor_bytes,
)
from agents.ppo.decoding import rollout
from agents.ppo.guide import Guide
from agents.ppo.network import PolicyNetwork
from agents.ppo.policy import GraphPolicy
from agents.scheduler import Budget, Meter
from fragenv.env.env import FragmentEnv
from fragenv.schedule.schedule import graph_hash
from fragenv.serialize import read_json, write_bytes, write_json

FORMAT, VERSION = "fragenv-training", 2
STATE, OPTIMIZER, LATEST = "training.json", "optimizer.safetensors", "latest.safetensors"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Hyper-parameters; the defaults were chosen on AlexNetChip-v0."""

    timesteps: int = 60_000
    seed: int = 0
    num_envs: int = 16
    rollout_steps: int = 64
    batch_size: int = 256
    epochs: int = 4
    learning_rate: float = 2e-3
    entropy: float = 0.002
    reward_scale: float = 0.1
    hidden: int = 48
    layers: int = 2
    device: str = "cpu"


@dataclass(slots=True)
class History:
    """Per evaluation: step, mean return of the rollout before, cost and latency over the bound of
    the greedy rollout."""

    steps: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0


def resolve_device(device: str) -> str:
    """``auto`` is a GPU where there is one.

    Raises:
        AgentError: an unknown device, or a GPU where there is none.
    """
    found = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if found else "cpu"
    if device not in ("cpu", "cuda"):
        raise AgentError(f"unknown device '{device}'; choose auto, cpu or cuda")
    if device == "cuda" and not found:
        raise AgentError("device 'cuda': torch finds no GPU here; choose auto or cpu")
    return device


def identity(env: FragmentEnv, trained_on: str) -> dict[str, Any]:
    """What a training belongs to; it is resumed on nothing else."""
    problem = env.problem
    return {
        "env": trained_on,
        "network": graph_hash(problem.graph),
        "chip": problem.chip.name,
        "batch": problem.batch,
        "max_depth": problem.max_depth,
        "objective": problem.objective.value,
        "reward": env._reward.name,
    }


def read_training(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """The state of a training to resume; ``wanted`` is the ``identity`` it must have.

    Raises:
        FragenvError: no training there, damaged, of another version, or of something else.
    """
    data = read_json(folder / STATE, FORMAT, VERSION)
    own = data.get("identity")
    if not isinstance(own, dict):
        raise AgentError(f"'{folder / STATE}' is damaged: field 'identity' is missing or wrong")
    for key, value in wanted.items():
        if own.get(key) != value:
            raise AgentError(
                f"the training in '{folder}' has {key} {own.get(key)!r}, not {value!r}; resume it "
                "with the options that it was begun with"
            )
    return data


def train(
    make_env: Callable[[], FragmentEnv],
    config: TrainConfig,
    folder: Path,
    trained_on: str,
    resume: bool = False,
    start: PolicyNetwork | None = None,
    progress: Callable[[int], None] = lambda steps: None,
) -> tuple[PolicyNetwork, History]:
    """Train an agent into ``folder`` (agent/, tensorboard/, the files to resume from).

    After every rollout the greedy rollout is evaluated; the weights with the least default cost are
    the agent. An interruption (Ctrl-C) saves everything and is raised again. ``start``: the network
    to fine-tune, whose size replaces the configuration's.

    Raises:
        FragenvError: nothing to resume from, or files of another version.
    """
    torch.set_num_threads(1)
    device = resolve_device(config.device)
    first = make_env()
    mine = identity(first, trained_on)
    earlier = read_training(folder, mine) if resume else None
    if earlier is not None:
        config = _resized(config, earlier.get("config"))
    elif start is not None:
        config = replace(config, hidden=start.size["hidden"], layers=start.size["layers"])
    envs = [lambda: _scaled(make_env(), config.reward_scale)] * config.num_envs
    vector = DummyVecEnv(envs)
    model = MaskablePPO(
        GraphPolicy,
        vector,
        learning_rate=config.learning_rate,
        n_steps=config.rollout_steps,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gamma=1.0,
        gae_lambda=0.95,
        ent_coef=config.entropy,
        policy_kwargs={"layout": first.layout, "hidden": config.hidden, "layers": config.layers},
        seed=config.seed,
        device=device,
    )
    recorder = _Recorder(first, config, folder, mine, progress)
    if earlier is not None:
        recorder.restore(model, earlier)
    elif start is not None:
        model.policy.network.load_state_dict(start.state_dict())
    folder.mkdir(parents=True, exist_ok=True)
    model.set_logger(configure(str(folder / "tensorboard"), ["tensorboard"]))
    left = config.timesteps - model.num_timesteps
    try:
        if left > 0:
            model.learn(left, callback=recorder, reset_num_timesteps=not resume)
    finally:
        recorder.save(model)
        vector.close()
    return recorder.best_network(), recorder.history


def _resized(config: TrainConfig, earlier: Any) -> TrainConfig:
    """The configuration with the network's size in an earlier one."""
    if not isinstance(earlier, dict):
        raise AgentError("the training to resume is damaged: field 'config' is missing or wrong")
    hidden, layers = (int(earlier.get(name, 0)) for name in ("hidden", "layers"))
    return replace(config, hidden=hidden, layers=layers)


def _scaled(env: FragmentEnv, scale: float) -> gymnasium.Env[Any, Any]:
    """Episodes are recorded with their true return; the agent sees it scaled, so that the value
    loss does not drown the policy's gradient."""
    return gymnasium.wrappers.TransformReward(Monitor(env), lambda reward: float(reward) * scale)


class _Recorder(BaseCallback):
    """Evaluates after each rollout and update, and knows how to save and restore a training."""

    def __init__(
        self,
        env: FragmentEnv,
        config: TrainConfig,
        folder: Path,
        identity: dict[str, Any],
        progress: Callable[[int], None],
    ) -> None:
        super().__init__()
        self.env, self.config, self.folder, self.identity = env, config, folder, identity
        self.progress = progress
        self.history = History()
        self.best_cost = float("inf")
        self.best_weights: dict[str, torch.Tensor] = {}
        self.best_step = 0
        self._began = time.perf_counter()

    def _on_training_start(self) -> None:
        self._began = time.perf_counter() - self.history.seconds
        if not self.best_weights:
            self._evaluate()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        # the policy has just been updated, unless a training that was resumed begins here
        if self.num_timesteps not in self.history.steps[-1:]:
            self._evaluate()

    def _on_training_end(self) -> None:
        self._evaluate()

    def _evaluate(self) -> None:
        policy = self.model.policy
        assert isinstance(policy, GraphPolicy)
        policy.set_training_mode(False)
        problem = self.env.problem
        path = rollout(Meter(problem, Budget(10**9)), Guide(policy.network, problem), None)
        assert path is not None
        cost = problem.cost(path.state)
        finished = [info["r"] for info in self.model.ep_info_buffer or []]
        self.history.steps.append(self.num_timesteps)
        self.history.returns.append(float(np.mean(finished)) if finished else float("nan"))
        self.history.costs.append(cost)
        self.history.latencies.append(problem.cycles(path.state) / problem.bound_cycles)
        self.history.seconds = time.perf_counter() - self._began
        self.logger.record("greedy/cost", cost)
        self.logger.record("greedy/latency_over_bound", self.history.latencies[-1])
        if cost < self.best_cost:
            self.best_cost, self.best_step = cost, self.num_timesteps
            self.best_weights = _copied(policy.network)
        self.progress(self.num_timesteps)

    def best_network(self) -> PolicyNetwork:
        """The best policy seen."""
        network = PolicyNetwork(self.config.hidden, self.config.layers)
        network.load_state_dict(self.best_weights)
        return network.eval()

    def save(self, model: MaskablePPO) -> None:
        """Write the agent and what ``restore`` needs."""
        policy = model.policy
        assert isinstance(policy, GraphPolicy)
        # interrupted before the first evaluation
        self.best_weights = self.best_weights or _copied(policy.network)
        agent = AgentConfig(
            self.config.hidden,
            self.config.layers,
            self.identity["env"],
            self.best_step,
            self.config.seed,
        )
        save_agent(self.best_network(), agent, self.folder / "agent")
        write_bytes(self.folder / LATEST, tensor_bytes(policy.network.state_dict()))
        tensors, groups = _flatten_optimizer(policy.optimizer.state_dict())
        write_bytes(self.folder / OPTIMIZER, tensor_bytes(tensors))
        write_json(
            self.folder / STATE,
            FORMAT,
            VERSION,
            {
                "config": asdict(self.config),
                "identity": self.identity,
                "timesteps": model.num_timesteps,
                "updates": model._n_updates,
                "best_cost": self.best_cost,
                "best_step": self.best_step,
                "history": asdict(self.history),
                "optimizer_groups": groups,
            },
        )

    def restore(self, model: MaskablePPO, data: dict[str, Any]) -> None:
        """Go on where ``save`` left off; random numbers start anew from seed and step."""
        policy = model.policy
        assert isinstance(policy, GraphPolicy)
        try:
            policy.network.load_state_dict(read_tensors(self.folder / LATEST))
            tensors = read_tensors(self.folder / OPTIMIZER)
            policy.optimizer.load_state_dict(_unflatten_optimizer(tensors, data))
            model.num_timesteps = int(data["timesteps"])
            model._n_updates = int(data["updates"])
            self.history = History(**data["history"])
            self.best_cost, self.best_step = float(data["best_cost"]), int(data["best_step"])
            self.best_weights = read_tensors(self.folder / "agent" / WEIGHTS)
            self.best_network()
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
            raise AgentError(
                f"cannot resume from '{self.folder}': its files are damaged or do not belong "
                "together"
            ) from None
        model.set_random_seed(self.config.seed + model.num_timesteps)


def _copied(network: PolicyNetwork) -> dict[str, torch.Tensor]:
    return {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


def _flatten_optimizer(state: dict[str, Any]) -> tuple[dict[str, torch.Tensor], list[Any]]:
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _unflatten_optimizer(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    return {"state": state, "param_groups": data["optimizer_groups"]}
