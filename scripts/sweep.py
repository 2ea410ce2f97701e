"""Hyper-parameters and seeds of training, spread over processes and machines by Ray Tune."""

from __future__ import annotations

import csv
import io
import itertools
import os
import shlex
import statistics
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agents.experiment import new_folder
from agents.ppo.train import TrainConfig, resolve_device, train
from fragenv.env.env import FragmentEnv
from fragenv.env.registry import lookup
from fragenv.errors import FragenvError
from fragenv.serialize import write_bytes

console = Console()
#: what may be swept, with its type
KINDS = {
    f.name: {"int": int, "float": float}[str(f.type)]
    for f in fields(TrainConfig)
    if f.name not in ("seed", "device", "timesteps")
}


def main(
    env: Annotated[str, typer.Option(help="Environment id, such as AlexNetChip-v0.")],
    param: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE,VALUE,... of: " + ", ".join(KINDS) + "; repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of every combination.")] = 3,
    timesteps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 60_000,
    model: Annotated[str | None, typer.Option(help="For ModelChip-v0.")] = None,
    chip: Annotated[str | None, typer.Option(help="Chip preset or TOML file.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Frames per job.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster, or 'auto'; default: this machine.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Cores to use without --address; default: all.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, of each training.")] = "cpu",
    output: Annotated[Path, typer.Option(help="Folder; on a cluster one that all share.")] = Path(
        "results/sweep"
    ),
) -> None:
    """Train every combination of the values with every seed, one core each, and rank them by the
    cost of their greedy schedules.

    Writes sweep.csv and sweep.md to OUTPUT, and each training's folder; the same command goes on
    with what is not finished. Needs pip install 'fragenv[ray]'.

    Example: python scripts/sweep.py --env LeNetChip-v0 --param learning_rate=1e-3,2e-3 --seeds 2
    """
    try:
        import ray
        from ray import tune
    except ImportError:
        typer.echo("Error: Ray is not installed; pip install 'fragenv[ray]'", err=True)
        raise typer.Exit(2) from None
    try:
        resolve_device(device)
        grid = parse_grid(param or [])
        _, kwargs = lookup(env, model, chip, batch)
        FragmentEnv(**kwargs)
        folder = new_folder(output).resolve()
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    # a token in the home folder, which one user on one machine has no use for
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(address=address, num_cpus=None if address else jobs, include_dashboard=False)
    space = {name: tune.grid_search(values) for name, values in grid.items()}
    space["seed"] = tune.grid_search(list(range(seeds)))
    trial = tune.with_parameters(
        run_trial, env=env, kwargs=kwargs, timesteps=timesteps, device=device, folder=str(folder)
    )
    trial = tune.with_resources(trial, {"cpu": 1, "gpu": 1 if device == "cuda" else 0})
    found = tune.Tuner(
        trial,
        param_space=space,
        run_config=tune.RunConfig(name="ray", storage_path=str(folder)),
    ).fit()
    trials = (found[number] for number in range(len(found)))
    rows = [
        {**(result.config or {}), **_measured(result.metrics)}
        for result in trials
        if not result.error
    ]
    write_tables(rows, list(grid), folder, shlex.join(["python", *sys.argv]))
    ray.shutdown()
    console.print((folder / "sweep.md").read_text("utf-8"), markup=False, soft_wrap=True)
    if found.errors:
        typer.echo(f"{len(found.errors)} trainings failed; Ray's files are in {folder}", err=True)
        raise typer.Exit(1)


def parse_grid(params: list[str]) -> dict[str, list[Any]]:
    """``NAME=VALUE,VALUE`` of each option as values of the right type.

    Raises:
        FragenvError: an unknown name or a wrong value.
    """
    grid: dict[str, list[Any]] = {}
    for text in params:
        name, _, values = text.partition("=")
        if name not in KINDS or not values:
            raise FragenvError(
                f"--param {text}: give NAME=VALUE,VALUE with a NAME of {', '.join(KINDS)}"
            )
        try:
            grid[name] = [KINDS[name](value) for value in values.split(",")]
        except ValueError:
            raise FragenvError(f"--param {text}: {name} takes {KINDS[name].__name__}s") from None
    return grid


def run_trial(
    config: dict[str, Any],
    env: str,
    kwargs: dict[str, Any],
    timesteps: int,
    device: str,
    folder: str,
) -> dict[str, float]:
    """One training; a finished or interrupted one is taken up where it is."""
    name = "-".join(f"{key}{config[key]}" for key in sorted(config))
    place = Path(folder) / "trials" / name
    _, history = train(
        lambda: FragmentEnv(**kwargs),
        TrainConfig(timesteps=timesteps, device=device, **config),
        place,
        env,
        resume=(place / "training.json").exists(),
    )
    return {"cost": min(history.costs), "last": history.costs[-1], "seconds": history.seconds}


def _measured(metrics: dict[str, Any] | None) -> dict[str, float]:
    return {name: float((metrics or {})[name]) for name in ("cost", "last", "seconds")}


def write_tables(rows: list[dict[str, Any]], swept: list[str], folder: Path, command: str) -> None:
    """sweep.csv with every training, sweep.md with every combination over its seeds."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*swept, "seed", "cost", "last", "seconds"])
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(folder / "sweep.csv", text.getvalue().encode("utf-8"))
    key = lambda row: tuple(row[name] for name in swept)  # noqa: E731
    groups = [(k, list(g)) for k, g in itertools.groupby(sorted(rows, key=key), key)]
    groups.sort(key=lambda group: statistics.mean(row["cost"] for row in group[1]))
    lines = [
        f"Made by `{command}`. Cost of the best greedy schedule of each training.",
        "",
        "| " + " | ".join([*swept, "mean cost", "least", "most", "seeds", "seconds"]) + " |",
        "|" + "---|" * (len(swept) + 5),
    ]
    for values, group in groups:
        costs = [row["cost"] for row in group]
        seconds = statistics.mean(row["seconds"] for row in group)
        cells = [*values, f"{statistics.mean(costs):.4f}", f"{min(costs):.4f}"]
        cells += [f"{max(costs):.4f}", len(group), f"{seconds:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    write_bytes(folder / "sweep.md", ("\n".join(lines) + "\n").encode("utf-8"))


if __name__ == "__main__":
    typer.run(main)
