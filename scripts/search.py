"""Search for the network that is worth most on a chip, schedule it and emit it."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from search_report import Finalist, known_cells, write_candidates, write_report

warnings.filterwarnings("ignore", category=FutureWarning, module="torch")

import fragenv.generate.systems  # noqa: E402, F401 - registers the generators
from agents.comparison import Entry, best_of  # noqa: E402
from agents.experiment import emit_verilog, new_folder, write_run  # noqa: E402
from agents.ppo.checkpoint import WEIGHTS, load_agent  # noqa: E402
from agents.ppo.scheduler import PPOScheduler  # noqa: E402
from agents.scheduler import SCHEDULERS, Budget, Scheduler  # noqa: E402
from fragenv.env.registry import MODEL_ENVIRONMENT  # noqa: E402
from fragenv.errors import FragenvError  # noqa: E402
from fragenv.generate import references  # noqa: E402
from fragenv.generate.architecture import Architecture, save_architectures  # noqa: E402
from fragenv.generate.generator import GENERATORS  # noqa: E402
from fragenv.generate.latency import LatencyOracle, quick_schedule  # noqa: E402
from fragenv.generate.ranking import Ranking  # noqa: E402
from fragenv.generate.search import Candidate, Goal, Plan, search, smallest  # noqa: E402
from fragenv.generate.skeleton import build_graph, write_onnx  # noqa: E402
from fragenv.hardware.chip import load_chip  # noqa: E402
from fragenv.models.images import random_images  # noqa: E402
from fragenv.models.load import load_graph  # noqa: E402
from fragenv.models.quantise import quantise_onnx  # noqa: E402
from fragenv.schedule.problem import Problem  # noqa: E402
from fragenv.schedule.state import State  # noqa: E402
from fragenv.serialize import FileError, read_json, write_bytes, write_json  # noqa: E402

FORMAT, VERSION = "fragenv-evaluations", 1
#: random images from which a finalist's scales are taken
CALIBRATION_IMAGES = 8
#: schedulers that finalists get
FULL_SEARCH = ("beam", "annealing")

console = Console()


class OracleKind(StrEnum):
    """What schedules the candidates."""

    QUICK = "quick"
    AGENT = "agent"


class Evaluations:
    """Scores and latencies of architectures; what was evaluated before is read from a file."""

    def __init__(self, path: Path, oracle: LatencyOracle, settings: str) -> None:
        self.path, self.oracle, self.settings = path, oracle, settings
        self.ranking = Ranking()
        self.rows: dict[str, tuple[float, int]] = {}
        if path.exists():
            data = read_json(path, FORMAT, VERSION)
            if data.get("settings") != settings:
                raise FileError(
                    f"'{path}' holds evaluations on another chip or by another oracle; give "
                    "another --output or remove the file"
                )
            self.rows = {row[0]: (row[1], row[2]) for row in data["rows"]}

    def __call__(self, architectures: Sequence[Architecture]) -> list[tuple[float, int]]:
        keys = [json.dumps([a.ops, a.edges]) for a in architectures]
        missing = [i for i, key in enumerate(keys) if key not in self.rows]
        if missing:
            new = [architectures[i] for i in missing]
            for i, a, score in zip(missing, new, self.ranking(new), strict=True):
                self.rows[keys[i]] = score, self.oracle(a)
            content = [[key, *row] for key, row in self.rows.items()]
            write_json(self.path, FORMAT, VERSION, {"settings": self.settings, "rows": content})
        return [self.rows[key] for key in keys]


def feasible_goal(wanted: Goal, oracle: LatencyOracle) -> tuple[Goal, str]:
    """The goal whose target is the nearest that is known to be feasible, and a sentence where it is
    another than the wanted one."""
    graph = build_graph(smallest(), oracle.skeleton)
    # of all fragments: the oracle's are a choice of them
    bound = Problem(graph, oracle.chip, oracle.batch).bound.latency_cycles
    least = oracle(smallest())
    if wanted.target_cycles >= least:
        return wanted, ""
    why = (
        f"no network of this skeleton takes fewer than {bound:,} cycles (lower bound)"
        if wanted.target_cycles < bound
        else f"the empty cell's network takes {least:,} cycles already"
    )
    said = (
        f"a target of {wanted.target_cycles:,.0f} cycles is out of reach: {why}; "
        f"{least:,} cycles is the nearest that is known to be feasible and is aimed at"
    )
    return Goal(least, wanted.below, wanted.above), said


def agents_schedule(folder: Path) -> tuple[Scheduler, Callable[[Problem], State], str]:
    """An agent's greedy rollout as a scheduler, as an oracle's schedule, and what identifies it."""
    network, _ = load_agent(folder)
    scheduler = PPOScheduler(network, samples=0)
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()

    def schedule(problem: Problem) -> State:
        return scheduler.solve(problem, Budget(10**9), 0).state

    return scheduler, schedule, digest


def solved(
    candidate: Candidate,
    file: Path,
    oracle: LatencyOracle,
    budget: int,
    agent: Scheduler | None,
    seed: int,
) -> Finalist:
    """Export a candidate with weights drawn from a seed, quantise it, and search the schedule of
    the int8 network among all fragments."""
    skeleton = oracle.skeleton
    write_onnx(candidate.architecture, file, skeleton, seed)
    int8 = file.with_name(f"{file.stem}_int8.onnx")
    quantise_onnx(file, random_images(CALIBRATION_IMAGES, skeleton.input_shape, seed), int8)
    problem = Problem(load_graph(int8), oracle.chip, oracle.batch)
    schedulers = {name: SCHEDULERS.get(name) for name in FULL_SEARCH}
    if agent is not None:
        schedulers["agent"] = agent
    entries = {n: Entry(s.solve(problem, Budget(budget), 0)) for n, s in schedulers.items()}
    return Finalist(candidate, problem, entries, file, int8)


def main(
    chip: Annotated[str, typer.Option(help="Chip preset or path of a TOML file.")],
    target_latency: Annotated[float, typer.Option(help="Wanted latency of a job, in cycles.")],
    reference: Annotated[
        str | None,
        typer.Option(
            help=f"Begin near the block of a network ({', '.join(references.BLOCKS)}), a "
            "NAS-Bench-201 cell '|nor_conv_3x3~0|+...', or a file of architectures."
        ),
    ] = None,
    generator: Annotated[str, typer.Option(help=f"One of: {', '.join(GENERATORS)}.")] = "mutation",
    budget: Annotated[int, typer.Option(min=1, help="Candidates to evaluate.")] = 300,
    oracle: Annotated[
        OracleKind,
        typer.Option(
            help="quick: a schedule without search, some 0.05 s a candidate. agent: the greedy "
            "rollout of a trained agent."
        ),
    ] = OracleKind.QUICK,
    agent: Annotated[
        Path | None, typer.Option(help="The agent/ folder of a run, for --oracle agent.")
    ] = None,
    below: Annotated[
        float, typer.Option(help="Exponent of latency / target where the target is met.")
    ] = 0.0,
    above: Annotated[float, typer.Option(help="The exponent where it is not met.")] = -5.0,
    per_round: Annotated[
        int, typer.Option(min=1, help="Candidates between two times that the generator learns.")
    ] = 10,
    population: Annotated[
        int, typer.Option(min=1, help="Latest candidates, from which it learns.")
    ] = 50,
    batch: Annotated[int, typer.Option(min=1, help="Frames per job.")] = 1,
    finalists: Annotated[int, typer.Option(min=1, help="Candidates for full search.")] = 3,
    full_budget: Annotated[
        int, typer.Option(min=1, help="apply calls of each full search of a finalist.")
    ] = 4_000,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the search; default: results/search-CHIP-GENERATOR-seedN."),
    ] = None,
    rtl: Annotated[bool, typer.Option(help="Emit the winner's Verilog.")] = True,
) -> None:
    """Search for the cell whose network is worth most on a chip.

    A candidate's reward is its score times (latency / target) ^ exponent. The score needs no
    training: NASWOT and log-synflow, ranked among the cells of NAS-Bench-201. The best candidates
    are exported, quantised and scheduled by beam search and annealing among all fragments; the one
    that is then worth most wins. Weights are drawn from --seed: nothing is trained.

    The folder gets report.md, pareto.png, candidates.csv, cell.json, network.onnx,
    network_int8.onnx, and of the winner what scripts/train.py writes of a run: comparison.md,
    schedule.json, timeline.png, rtl/, which scripts/verify.py takes. An interrupted search goes on
    when it is called again: evaluations.json is read.

    Example: scripts/search.py --chip cgra512 --target-latency 12000 --reference resnet18
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/search.py", *sys.argv[1:]])
    folder = output or Path("results") / f"search-{Path(chip).stem}-{generator}-seed{seed}"
    try:
        goal, plan = Goal(target_latency, below, above), Plan(budget, per_round, population, seed)
        start = references.reference(reference) if reference is not None else None
        system = GENERATORS.get(generator)()
        if (oracle is OracleKind.AGENT) != (agent is not None):
            raise FragenvError("--oracle agent and --agent FOLDER belong together; give both")
        scheduler, schedule, which = (
            agents_schedule(agent) if agent is not None else (None, quick_schedule, "quick")
        )
        latency = LatencyOracle(load_chip(chip), batch=batch, schedule=schedule)
        goal, notice = feasible_goal(goal, latency)
        notices = [notice] if notice else []
        if notice:
            console.print(notice, markup=False, style="yellow")
        new_folder(folder / "finalists")
        settings = json.dumps([repr(latency.chip), repr(latency.skeleton), batch, which])
        evaluate = Evaluations(folder / "evaluations.json", latency, settings)
        candidates: list[Candidate] = []
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            bar = progress.add_task("searching", total=budget)
            for candidate in search(system, evaluate, goal, plan, start):
                candidates.append(candidate)
                best = max(c.reward for c in candidates)
                progress.update(bar, completed=len(candidates), description=f"best {best:.4f}")
        if len(candidates) < budget:
            notices.append(
                f"generator '{generator}' made nothing new any more after {len(candidates)} "
                "candidates"
            )
        ranked = sorted(candidates, key=lambda c: -c.reward)[:finalists]
        done: list[Finalist] = []
        with console.status("scheduling finalists"):
            for number, candidate in enumerate(ranked):
                file = folder / "finalists" / f"finalist{number}.onnx"
                done.append(solved(candidate, file, latency, full_budget, scheduler, seed))
        winner = max(done, key=lambda f: goal.reward(f.candidate.score, f.latency_cycles))
        model = folder / "network_int8.onnx"
        write_bytes(folder / "network.onnx", winner.file.read_bytes())
        write_bytes(model, winner.int8_file.read_bytes())
        save_architectures(folder / "cell.json", [winner.candidate.architecture])
        write_candidates(folder / "candidates.csv", candidates)
        write_run(
            folder,
            winner.problem,
            winner.entries,
            MODEL_ENVIRONMENT,
            str(model),
            seed,
            command,
        )
        known = known_cells(latency)
        write_report(folder, goal, notices, candidates, done, winner, known, command)
        if rtl:
            result = winner.entries[best_of(winner.entries)].result
            with console.status("emitting Verilog"):
                said = emit_verilog(winner.problem, result, folder, model)
            console.print(said, markup=False)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted; the same command goes on", err=True)
        raise typer.Exit(130) from None
    console.print((folder / "report.md").read_text("utf-8"), markup=False, soft_wrap=True)
    console.print(f"everything is in {folder}", markup=False)


if __name__ == "__main__":
    typer.run(main)
