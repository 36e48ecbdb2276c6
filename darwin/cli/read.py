"""``darwin status``, ``darwin log`` and ``darwin show``: they read and change nothing."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from darwin import changes
from darwin.agents.ledger import total
from darwin.cli import options
from darwin.exchanges import expected_in_words, model_rows, show_transcript
from darwin.gate import waiting
from darwin.headline import headline
from darwin.memory import Memory
from darwin.memory.memory import describe_check, describe_verdict
from darwin.memory.records import Status
from darwin.models import transcripts_of
from darwin.page import change_lines
from darwin.plan import spent
from darwin.repairs import shares
from darwin.requests import reminder
from darwin.screen import Screen, counted, safe
from darwin.spending import at_the_end, so_far
from darwin.tables import log_table, numbers, outcome, show_comparison
from darwin.tidy import sizes
from darwin.workspace import locate, open_workspace

PAGE = 50
"""Individuals that ``log`` lists unless it is asked for more."""

WATCHED_SECONDS = 2.0
"""Between two looks of ``status --watch``."""


def status(
    workspace: options.Workspace = None,
    json: options.Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew whenever something was recorded, until Ctrl-C")
    ] = False,
) -> None:
    """Say how far it is, what is best, what waits for a decision.

    \b
    Examples:
      darwin status
      darwin status --watch
    """
    folder = locate(workspace)
    memory = open_workspace(folder).memory
    if json:
        options.print_json(summary(memory) | models_summary(memory, folder) | {"bytes": sizes(folder)})
        return
    screen = Screen()
    if not watch:
        show_status(screen, memory, folder)
        show_sizes(screen, folder)
        return
    while True:
        screen.console.clear()
        show_status(screen, memory, folder)
        seen = memory
        while _same(seen, memory):
            time.sleep(WATCHED_SECONDS)
            memory = open_workspace(folder).memory


def _same(seen: Memory, now: Memory) -> bool:
    """Whether nothing was recorded since: no trial, decision or request either."""
    return (seen.run, seen.individuals, seen.decisions, seen.requests) == (
        now.run, now.individuals, now.decisions, now.requests,
    )  # fmt: skip


def show_status(screen: Screen, memory: Memory, folder: Path) -> None:
    """How far it is, what is best, what waits."""
    run = memory.run
    screen.say(headline(memory), "bold")
    goal = f" of {run.target}" if run.target is not None else ""
    children = [i for i in memory.individuals.values() if i.author]
    counts = Counter(i.status.value for i in children)
    screen.say(
        f"{run.generation}{goal} generations complete; {len(children)} children: "
        + ", ".join(f"{n} {status}" for status, n in counts.items())
        + f". {run.cpu_seconds:,.0f} CPU seconds."
    )
    asked = total(transcripts_of(folder).spent())
    if asked.calls:
        screen.say(so_far(asked, run, run.target) + ".")
    found = shares(memory.individuals.values())
    if found.written:
        screen.say(
            f"Written by models: {found.written}; {found.failing / found.written:.1%} failed as first written, "
            f"{found.repaired / found.written:.1%} were repaired."
        )
    champion = memory.individuals[run.champion] if run.champion else None
    if champion:
        screen.say(f"Champion {champion.id}: {describe_verdict(champion)}.", "bold")
        faded = champion.larger is not None and champion.larger.fades
        screen.say(describe_check(champion), "red" if faded else "")
    else:
        screen.say("Nothing has been proven better than the base yet.")
    for contender in waiting(memory)[-1:]:
        screen.say(f"{contender.id} waits for your decision: darwin review")
    if reminder(memory):
        screen.say(reminder(memory))
    best = min((memory.individuals[i] for i in run.population.values()), key=lambda i: i.rank)
    screen.console.print(numbers(memory.resolve("base"), memory.individuals[run.incumbent], champion or best))
    if run.comparison:
        show_comparison(screen, run.comparison, memory)


def show_sizes(screen: Screen, folder: Path) -> None:
    """What the workspace takes on disk."""
    taken = {name: size for name, size in sizes(folder).items() if size}
    parts = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in taken.items())
    screen.say(f"On disk: {sum(taken.values()) / 1e6:.1f} MB ({parts}).")


def summary(memory: Memory) -> dict[str, Any]:
    """What ``status --json`` prints; before the first generation most of it is null."""
    if not memory.begun:
        return {
            "generation": 0,
            "target": None,
            "base": memory.resolve("base").id,
            "incumbent": None,
            "champion": None,
            "population": [],
            "counts": {},
            "cpu_seconds": None,
            "spent": {},
            "seconds": {},
        }
    run = memory.run
    counts = Counter(i.status.value for i in memory.individuals.values() if i.operator != "ablation")
    found: dict[str, Any] = {
        "generation": run.generation,
        "target": run.target,
        "base": memory.resolve("base").id,
        "incumbent": run.incumbent,
        "champion": run.champion,
        "population": list(run.population.values()),
        "counts": {status.value: counts.get(status.value, 0) for status in Status},
        "cpu_seconds": run.cpu_seconds,
        "spent": {name: round(seconds, 1) for name, seconds in spent(run, memory.individuals).items()},
        "seconds": run.seconds,
        "test_uses": run.test_uses,
    }
    if run.comparison:
        found["comparison"] = run.comparison.model_dump(mode="json")
    return found


def models_summary(memory: Memory, folder: Path) -> dict[str, Any]:
    """What ``status --json`` says of models, where any was asked: failing and repaired children, and what was spent."""
    asked = total(transcripts_of(folder).spent())
    if not memory.begun or not (asked.calls or any(i.model for i in memory.individuals.values())):
        return {}
    end = at_the_end(asked, memory.run, memory.run.target)
    spent = {"spent": asked.model_dump(), "at_the_end": end.model_dump() if end else None}
    return {"models": {**asdict(shares(memory.individuals.values())), **spent}}


def log(
    workspace: options.Workspace = None,
    json: options.Json = False,
    last: Annotated[
        int | None,
        typer.Option(
            "-n",
            help="Only the last N individuals  [default: 50; with --json all]",
            show_default=False,
            min=1,
        ),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="All of them")] = False,
) -> None:
    """List who rewrote whose script, how, and what came of it.

    \b
    Examples:
      darwin log
      darwin log -n 10 --json
    """
    memory = open_workspace(locate(workspace)).memory
    everyone = list(memory.individuals.values())
    individuals = everyone[-(last or (0 if json or all else PAGE)) :]
    if json:
        options.print_json([i.model_dump(mode="json", by_alias=True) for i in individuals])
        return
    Screen().console.print(log_table(individuals, memory))
    if not last and len(individuals) < len(everyone):
        Screen().say(f"The last {PAGE} of {len(everyone):,}. All of them: darwin log --all")


def show(
    id: options.ID,
    workspace: options.Workspace = None,
    json: options.Json = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show the change to the base as well")] = False,
    transcript: Annotated[
        bool, typer.Option("--transcript", help="Show what was said to the model and what it answered")
    ] = False,
) -> None:
    """Show one individual: what was changed, by whom and why; its numbers.

    \b
    Examples:
      darwin show champion --diff
      darwin show g002-ada --json
    """
    opened = open_workspace(locate(workspace))
    memory = opened.memory
    found = memory.resolve(id)
    if json:
        options.print_json(found.model_dump(mode="json", by_alias=True))
        return
    screen = Screen()
    screen.say(f"{found.id}: {safe(found.subject)}", "bold")
    if found.parents and found.author:
        screen.say(
            f"{found.author} rewrote {found.owner}'s script {found.parents[0]} in generation "
            f"{found.generation}."
        )
    for label, text in (
        ("Hypothesis", safe(found.hypothesis, 500)),
        ("Expected", expected_in_words(found)),
        ("Techniques", ", ".join(found.techniques)),
        ("Settings", ", ".join(f"{k} {a} -> {b}" for k, (a, b) in found.settings.items())),
        ("Shown", shown_in_short(found.shown)),
        ("Outcome", outcome(found, memory)),
        *model_rows(found),
        ("Verdict", describe_verdict(found) if found.verdict else ""),
        ("Commit", found.commit),
    ):
        if text:
            screen.say(f"{label + ':':12} {text}")
    for trial in found.trials:
        words = f"seed {trial.seed}, {trial.split}, {trial.budget}: {trial.status}"
        if trial.loss is not None:
            words += f", loss {trial.loss:.4f} nats per token, perplexity {trial.perplexity:.3f}"
        if trial.bits_per_byte is not None:
            words += f", {trial.bits_per_byte:.3f} bits per byte"
        if trial.mfu is not None:
            words += f", MFU {trial.mfu:.1%}, {trial.seconds:.1f} s of training"
        screen.say(f"  {words}")
        if trial.error:
            screen.say(
                "\n".join("    " + safe(line, 200) for line in trial.error.strip().splitlines()[-30:]), "red"
            )
    if transcript:
        show_transcript(screen, transcripts_of(opened.folder).read(found.id))
    if diff:
        show_change(
            screen, changes.read(opened.lineage.repo, memory.resolve("base").commit, found.commit, ())
        )


def diff(
    id: options.ID,
    other: Annotated[
        str | None,
        typer.Argument(
            help="Show the way from the first to this one", show_default=False, autocompletion=options.ids
        ),
    ] = None,
    workspace: options.Workspace = None,
    json: options.Json = False,
) -> None:
    """Show what a script changes: against main, or from one script to another.

    \b
    Examples:
      darwin diff champion
      darwin diff g001-ada g003-alan
    """
    opened = open_workspace(locate(workspace))
    first = opened.memory.resolve(id)
    two = (opened.memory.resolve("main"), first) if other is None else (first, opened.memory.resolve(other))
    change = changes.read(opened.lineage.repo, two[0].commit, two[1].commit, ())
    if json:
        files = {
            f.path: {"fate": f.fate, "added": f.count("+"), "removed": f.count("-")} for f in change.files
        }
        options.print_json({"from": two[0].id, "to": two[1].id, "files": files, "cautions": change.cautions})
        return
    screen = Screen()
    screen.say(f"From {two[0].id} to {two[1].id}: {safe(two[1].subject)}", "bold")
    if not change.files:
        screen.say("They are equal.")
    show_change(screen, change)


def show_change(screen: Screen, change: changes.Change) -> None:
    """All lines of a change, with what could deceive an eye pointed out first."""
    for sentence in change.cautions:
        screen.say(f"Look at: {sentence}", "yellow")
    for line in change_lines(change, screen.console.width):
        screen.console.print(line)


def shown_in_short(shown: tuple[str, ...]) -> str:
    """What an author was shown, counted by kind; ``--json`` lists it whole."""
    counts = Counter(name.partition(":")[0] for name in shown)
    return ", ".join(counted(n, kind) for kind, n in counts.items())
