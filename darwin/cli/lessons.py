"""``darwin lessons``: what the trials so far say about each technique and setting."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from darwin.cli import options
from darwin.memory.records import Claim, Lesson
from darwin.screen import Screen
from darwin.tables import plain_table
from darwin.workspace import locate, open_workspace


def lessons(
    workspace: options.Workspace = None,
    json: options.Json = False,
    trials: Annotated[bool, typer.Option("--trials", help="Name the trials for and against each")] = False,
) -> None:
    """Show what was learnt of each technique and setting: effect on perplexity and MFU, and how sure that is.

    Effects are those on the base script, of the knowledge base and all trials together; at six times the budget they
    are foretold where no trial was that long.

    \b
    Examples:
      darwin lessons
      darwin lessons --trials
    """
    memory = open_workspace(locate(workspace)).memory
    found = memory.lessons()
    if json:
        options.print_json([lesson.model_dump(mode="json") for lesson in found])
        return
    screen = Screen()
    if not found:
        screen.say("There are no lessons yet: nothing was tried.")
        return
    table = plain_table("lesson", "perplexity", "at 6 x", "MFU", "for", "against", "failed")
    in_force = sorted(
        (one for one in found if not one.retired), key=lambda one: (one.long_effect or 0.0, one.id)
    )
    for lesson in in_force:
        table.add_row(
            lesson.id.removeprefix("technique:").removeprefix("setting:"),
            _percent(lesson.effect, lesson.sd),
            _percent(lesson.long_effect, lesson.long_sd),
            _percent(lesson.mfu, lesson.mfu_sd),
            str(len(lesson.supporting)),
            str(len(lesson.contradicting)),
            str(lesson.failed) if lesson.failed else "",
        )
    screen.console.print(table)
    screen.say("Changes in %, each ± a standard deviation; the best at 6 x first.")
    for lesson in (one for one in found if one.retired):
        screen.say(f"Retired: {_sentence(lesson)}", "dim")
    if trials:
        for lesson in in_force:
            screen.say(_sentence(lesson))


def _sentence(lesson: Lesson) -> str:
    words = {Claim.HELPS: "helps", Claim.HURTS: "does not help"}
    name = lesson.id.removesuffix(f":{lesson.claim}") if lesson.retired else lesson.id
    sides = ((" for", lesson.supporting), (" against", lesson.contradicting))
    told = "; ".join(f"{', '.join(ids)}{side}" for side, ids in sides if ids)
    return f"{name} {words[lesson.claim]}: {told or 'no trial came to a loss'}."


def _percent(effect: float | None, deviation: float | None) -> str:
    if effect is None:
        return ""
    return f"{100 * math.expm1(effect):+.1f} ± {100 * (deviation or 0.0):.1f}"
