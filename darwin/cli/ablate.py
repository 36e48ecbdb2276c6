"""``darwin ablate``: what each technique and setting of a script is worth in it."""

from __future__ import annotations

import math
from dataclasses import asdict
from statistics import fmean
from typing import Annotated

import typer

from darwin import begin as beginning
from darwin.ablation import PAIRS, Ablation, Part, doubts, name_of
from darwin.ablation import ablate as run_ablation
from darwin.cli import options
from darwin.confinement import confined
from darwin.errors import UsageError
from darwin.evolution import Evolution
from darwin.memory.records import Individual
from darwin.sandbox.budget import LARGER
from darwin.screen import Screen, counted
from darwin.tables import plain_table
from darwin.workspace import locate, locked, open_workspace


def ablate(
    id: options.ID = "champion",
    workspace: options.Workspace = None,
    larger: Annotated[bool, typer.Option("--larger", help=f"At {LARGER} times the run's budget")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this technique or setting; can be repeated", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Switch off each technique and setting change of a script in turn, and train it again on the same seeds.

    What is most in doubt comes first. Ctrl-C keeps what was measured; the same command goes on from there.

    \b
    Examples:
      darwin ablate
      darwin ablate g003-ada-1 --only muon --larger
    """
    folder = locate(workspace)
    open_workspace(folder).memory.run  # noqa: B018 (raises, in a sentence, before anything is locked)
    screen = Screen()
    with locked(folder):
        opened = open_workspace(folder)
        individual = opened.memory.resolve(id)
        with confined(opened.config, folder, screen.say if not json else lambda *_: None) as confinement:
            evolution = beginning.begin(opened, screen, interactive=False, confinement=confinement)
            ideas = doubts(evolution, individual, larger)
            unknown = set(only or ()) - {name_of(idea) for idea, _ in ideas}
            if unknown or not ideas:
                has = ", ".join(name_of(idea) for idea, _ in ideas) or "nothing that the base has not"
                what = f'no "{sorted(unknown)[0]}"' if unknown else "nothing to take out"
                raise UsageError(f"{individual.id} has {what}; it has {has}.")
            ideas = [(idea, expected) for idea, expected in ideas if not only or name_of(idea) in only]
            times = LARGER if larger else 1
            if not json:
                screen.say(price(evolution, individual, len(ideas), times), "bold")
            try:
                found = run_ablation(evolution, individual, ideas, times)
            except KeyboardInterrupt:
                screen.say("Stopped by you; what was measured is kept. The same command goes on from here.")
                return
            opened.memory.record(evolution.advanced())
            opened.memory.project_derived()
    if json:
        options.print_json({**asdict(found), "remainder": found.remainder})
        return
    show(screen, found)


def price(evolution: Evolution, individual: Individual, ideas: int, times: int) -> str:
    """What it is going to cost, before it starts."""
    spent = [t.cpu_seconds for t in individual.trials if t.budget == evolution.run.budget and t.cpu_seconds]
    one = fmean(spent) if spent else 0.0
    pairs = PAIRS * (ideas + (2 if times == 1 else 1))
    return (
        f"{individual.id} without each of {counted(ideas, 'idea')}: at most {counted(ideas, 'short trial')} and "
        f"{counted(pairs, 'trial')} at {times} x the budget, about {one * (ideas + pairs * times):,.0f} CPU seconds."
    )


def show(screen: Screen, found: Ablation) -> None:
    """The table: what every idea adds, most of it first, what they do together, and what was not to be had."""
    table = plain_table("idea", "perplexity", "98 % interval", "expected", "MFU")
    for part in sorted(found.parts, key=lambda p: (p.effect is None, p.effect)):
        table.add_row(name_of(part.idea), *_cells(part))
    screen.say(
        f"What each idea changes in {found.individual}, at {found.budget} on {counted(len(found.seeds), 'seed')}:"
    )
    screen.console.print(table)
    for part in found.parts:
        if part.note:
            screen.say(f"{name_of(part.idea)}: {part.note}", "yellow")
    if found.whole is not None and found.remainder is not None:
        screen.say(
            f"All together change perplexity by {_percent(found.whole)} to the base; {_percent(found.remainder)} of it "
            "is what they do to one another."
        )


def _cells(part: Part) -> tuple[str, str, str, str]:
    if part.effect is None:
        return "", "", _percent(part.expected.short), ""
    low, high = part.interval or (None, None)
    interval = "" if low is None or high is None else f"{_percent(low)} to {_percent(high)}"
    mfu = "" if part.mfu is None else _percent(part.mfu)
    return _percent(part.effect), interval, _percent(part.expected.short), mfu


def _percent(effect: float) -> str:
    return f"{100 * math.expm1(effect):+.1f} %"
