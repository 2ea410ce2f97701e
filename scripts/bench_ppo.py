"""Speed of PPO training, and the default training over several seeds."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

warnings.filterwarnings("ignore", category=FutureWarning, module="torch")

from agents.experiment import compare, new_folder  # noqa: E402
from agents.ppo.scheduler import PPOScheduler  # noqa: E402
from agents.ppo.train import TrainConfig, train  # noqa: E402
from agents.scheduler import Budget  # noqa: E402
from fragenv.env.env import FragmentEnv  # noqa: E402
from fragenv.env.registry import lookup  # noqa: E402
from fragenv.errors import FragenvError  # noqa: E402
from fragenv.serialize import write_bytes  # noqa: E402

WANTED_STEPS = 1_000
RIVALS = ("greedy", "uniform", "static_set")
console = Console()


def main(
    env: Annotated[str, typer.Option(help="Environment id.")] = "AlexNetChip-v0",
    chip: Annotated[str | None, typer.Option(help="Chip; default: the id's.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Frames per job; default: the id's.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of the default length; 0: speed only.")] = 0,
    timesteps: Annotated[int, typer.Option(help="Steps of each training.")] = 60_000,
    budget: Annotated[int, typer.Option(help="apply calls of each other scheduler.")] = 20_000,
    output: Annotated[Path, typer.Option(help="Where the seeds' table goes.")] = Path(
        "results/reference"
    ),
) -> None:
    """Print environment steps per second of training on one core, updates included, against the
    1,000 wanted; with --seeds, train that many agents and compare their greedy rollouts."""
    try:
        _, kwargs = lookup(env, None, chip, batch)
        problem = FragmentEnv(**kwargs).problem
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    chosen = {"chip": chip, "batch": batch}
    options = "".join(f" --{name} {value}" for name, value in chosen.items() if value)
    if not seeds:
        # the first training fills the caches of plans
        for number in range(2):
            seconds = _train(kwargs, env, TrainConfig(timesteps=12_288, seed=number))[1]
        rate = 12_288 / seconds
        console.print(
            f"{env}{options}: {rate:,.0f} steps/s, "
            f"wanted {WANTED_STEPS:,}: {rate / WANTED_STEPS:.2f}"
        )
        return
    entries = compare(problem, Budget(budget), 0, {}, lambda name: None)
    bound = problem.bound.latency_cycles
    rival = min(entries[name].result.state.latency_cycles for name in RIVALS)
    rows = []
    for seed in range(seeds):
        scheduler, seconds = _train(kwargs, env, TrainConfig(timesteps=timesteps, seed=seed))
        greedy = PPOScheduler(scheduler.network, samples=0).solve(problem, Budget(budget), seed)
        sampled = scheduler.solve(problem, Budget(budget), seed)
        rows.append(
            {
                "seed": seed,
                "training_s": round(seconds, 1),
                "greedy_latency": greedy.state.latency_cycles / bound,
                "greedy_cost": greedy.cost,
                "samples_cost": sampled.cost,
                "no_worse": greedy.state.latency_cycles <= rival,
            }
        )
        console.print(rows[-1])
    won = sum(bool(row["no_worse"]) for row in rows)
    command = f"python scripts/bench_ppo.py --env {env}{options} --seeds {seeds}"
    lines = [
        f"# {env}: {seeds} seeds of the default training",
        "",
        f"Made by `{command} --timesteps {timesteps} --budget {budget}` on {problem.chip.name},",
        f"batch {problem.batch}. Latency over the lower bound; cost is latency and traffic over",
        "their bounds, added. Other schedulers have the same number of apply calls as the agent's",
        "samples; the agent's training time stands apart.",
        "",
        "| scheduler | latency | cost |",
        "|---|---|---|",
        *(
            f"| {name} | {e.result.state.latency_cycles / bound:.3f} | {e.result.cost:.3f} |"
            for name, e in entries.items()
        ),
        "",
        "| seed | training, s | greedy rollout, latency | its cost | best of samples, cost |",
        "|---|---|---|---|---|",
        *(
            f"| {r['seed']} | {r['training_s']} | {r['greedy_latency']:.3f} "
            f"| {r['greedy_cost']:.3f} | {r['samples_cost']:.3f} |"
            for r in rows
        ),
        "",
        f"Greedy rollout no worse in latency than the best of {', '.join(RIVALS)} "
        f"({rival / bound:.3f}): {won} of {seeds} seeds.",
    ]
    folder = new_folder(output)
    stem = "_".join([env.removesuffix("-v0").lower(), *(str(v) for v in chosen.values() if v)])
    write_bytes(folder / f"{stem}_seeds.md", ("\n".join(lines) + "\n").encode())
    write_bytes(folder / f"{stem}_seeds.json", json.dumps(rows, indent=1).encode() + b"\n")
    console.print("\n".join(lines), markup=False)


def _train(kwargs: dict[str, object], env: str, config: TrainConfig) -> tuple[PPOScheduler, float]:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        network, _ = train(
            lambda: FragmentEnv(**kwargs),  # type: ignore[arg-type]
            config,
            Path(folder),
            env,
        )
    return PPOScheduler(network), time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
