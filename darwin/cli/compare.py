"""``darwin compare`` and ``darwin trials``: runs side by side, and every trial as a table for other programs."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from darwin.best_so_far import Axis, Point, at, axes, curve, marks
from darwin.cli import options
from darwin.errors import UsageError
from darwin.memory import Memory
from darwin.memory.records import Individual, Trial
from darwin.screen import Screen
from darwin.spending import dollars
from darwin.tables import plain_table
from darwin.workspace import locate, open_workspace

_AXES = {Axis.CPU: "CPU seconds", Axis.DOLLARS: "dollars of models", Axis.TOKENS: "tokens of models"}
COLUMNS = ("id", "generation", "author", "owner", "operator", "parents", "techniques", "settings")


def compare(
    workspaces: Annotated[list[Path], typer.Argument(help="Two workspaces or more", show_default=False)],
    json: options.Json = False,
) -> None:
    """Print the best perplexity so far at equal CPU seconds (of trials) and dollars (of models), and how it ended.

    \b
    Examples:
      darwin compare evolution greedy
      darwin compare with-a-model its-best-of-n rules
      darwin compare night-1 night-2 night-3 --json
    """
    if len(workspaces) < 2:
        raise UsageError(
            "darwin compare needs two workspaces or more, for example: darwin compare evolution greedy"
        )
    memories = {str(folder): open_workspace(folder).memory for folder in workspaces}
    begun = {name: memory for name, memory in memories.items() if memory.begun}
    if len(begun) < len(memories):
        name = next(name for name in memories if name not in begun)
        raise UsageError(f"{name} has no run yet. Start one: darwin evolve -C {name}")
    curves = {name: curve(memory) for name, memory in begun.items()}
    if json:
        options.print_json({name: _summary(begun[name], points) for name, points in curves.items()})
        return
    screen = Screen()
    _warn(begun, screen)
    for axis in axes(list(curves.values())):
        screen.console.print(_by(axis, curves))
    last = plain_table("Closing comparison, test split", *curves)
    budgets = dict.fromkeys(
        r.budget for m in begun.values() if m.run.comparison for r in m.run.comparison.rows
    )
    last.add_row("search", *(_described(memory) for memory in begun.values()))
    for budget in budgets:
        last.add_row(f"change at {budget}", *(_change(memory, budget) for memory in begun.values()))
    last.add_row("CPU seconds in all", *(f"{m.run.cpu_seconds:,.0f}" for m in begun.values()))
    if any(points[-1].model_tokens for points in curves.values() if points):
        last.add_row("models", *(_models(points) for points in curves.values()))
    screen.console.print(last)


def _by(axis: Axis, curves: dict[str, list[Point]]) -> Table:
    """Best so far at equal cost. By what models cost, only the runs that asked any."""
    shown = {n: p for n, p in curves.items() if axis is Axis.CPU or (p and p[-1].model_tokens)}
    table = plain_table(_AXES[axis], *shown, title="Best perplexity so far, on the seed that selects")
    for mark in marks(list(shown.values()), axis):
        found = [at(points, mark, axis) for points in shown.values()]
        first = dollars(mark) if axis is Axis.DOLLARS else f"{mark:,.0f}"
        table.add_row(first, *("" if p is None else f"{p.perplexity:.3f}" for p in found))
    return table


def _models(points: list[Point]) -> str:
    if not points or not points[-1].model_tokens:
        return "none"
    return f"{points[-1].model_tokens:,} tokens, {dollars(points[-1].dollars)}"


def _warn(begun: dict[str, Memory], screen: Screen) -> None:
    """Say where the numbers do not compare."""
    for name, what in (("dataset", "data"), ("budget", "budgets"), ("torch", "versions of torch")):
        if len({getattr(m.run, name) for m in begun.values()}) > 1:
            screen.say(f"These runs have different {what}: their perplexities do not compare.", "yellow")


def _described(memory: Memory) -> str:
    return memory.run.search + (f", {memory.run.control}" if memory.run.control else "")


def _change(memory: Memory, budget: str) -> str:
    rows = memory.run.comparison.rows if memory.run.comparison else ()
    for row in rows:
        if row.budget == budget:
            low, high = row.interval_percent
            return f"{row.change_percent:+.1f} % ({low:+.1f} to {high:+.1f})"
    return ""


def _summary(memory: Memory, points: list[Point]) -> dict[str, Any]:
    run = memory.run
    return {
        "search": run.search,
        "control": run.control,
        "seed": run.seed,
        "budget": run.budget,
        "cpu_seconds": run.cpu_seconds,
        "curve": [asdict(point) for point in points],
        "comparison": run.comparison.model_dump(mode="json") if run.comparison else None,
    }


def trials(
    workspace: options.Workspace = None,
    json: options.Json = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV, for pandas and spreadsheets")] = False,
) -> None:
    """List every trial: of whose script, on which seed and budget, and what was measured.

    \b
    Examples:
      darwin trials
      darwin trials --csv > trials.csv
    """
    memory = open_workspace(locate(workspace)).memory
    rows = [
        _row(i, t)
        for i in memory.individuals.values()
        for t in (*([i.screening] if i.screening else []), *i.all_trials)
    ]
    if json:
        options.print_json(rows)
    elif csv_:
        writer = csv.DictWriter(sys.stdout, [*COLUMNS, *Trial.model_fields], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {**row, **{key: _cell(row[key]) for key in ("parents", "techniques", "settings")}} for row in rows
        )
    else:
        table = plain_table("id", "seed", "split", "budget", "perplexity", "MFU", "CPU s")
        for row in rows:
            table.add_row(
                row["id"],
                str(row["seed"]),
                row["split"],
                row["budget"],
                row["status"].replace("_", " ") if row["perplexity"] is None else f"{row['perplexity']:.3f}",
                "" if row["mfu"] is None else f"{row['mfu']:.1%}",
                "" if row["cpu_seconds"] is None else f"{row['cpu_seconds']:.1f}",
            )
        Screen().console.print(table)


def _row(individual: Individual, trial: Trial) -> dict[str, Any]:
    whole = individual.model_dump(mode="json")
    return {**{key: whole[key] for key in COLUMNS}, **trial.model_dump(mode="json")}


def _cell(value: Any) -> str:
    """A list or a table of settings in one cell."""
    if isinstance(value, dict):
        return " ".join(f"{name}={new}" for name, (_, new) in value.items())
    return " ".join(value)
