"""``darwin review`` and ``darwin revert``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from darwin import advice, answers, gate, requests
from darwin.answers import Answer
from darwin.cli import options
from darwin.desk import Desk
from darwin.errors import UsageError
from darwin.keys import Keys
from darwin.memory.memory import describe_verdict
from darwin.memory.records import Choice, Individual
from darwin.rulings import rule
from darwin.screen import Screen, counted, safe
from darwin.workspace import InUse, Workspace, locate, locked, open_workspace

Reason = Annotated[str, typer.Option(help="Why; kept with the decision, and told to the agents")]


def review(
    workspace: options.Workspace = None,
    approve: Annotated[
        str | None,
        typer.Option("--approve", "--merge", help="Merge this one without asking", show_default=False),
    ] = None,
    reject: Annotated[
        str | None, typer.Option(help="Reject this one without asking", show_default=False)
    ] = None,
    reason: Reason = "",
    all_: Annotated[
        bool, typer.Option("--all", help="Ask about every change that waits, not the best alone")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show what was proven better, with its numbers and its diff; approve, reject, edit or defer it.

    A run may go on meanwhile: it carries the decision out at its next step. Without a terminal it lists what waits;
    --approve and --reject decide.

    \b
    Examples:
      darwin review
      darwin review --reject g003-ada --reason "too slow on our GPU"
    """
    folder, screen = locate(workspace), Screen()
    opened = _opened(folder, screen)
    if approve and reject:
        raise UsageError("--approve and --reject are two decisions. Give one of them.")
    queue = _queue(opened)
    named = approve or reject
    if named is not None:
        contender = opened.memory.resolve(named)
        if contender not in queue:
            raise UsageError(f"{contender.id} does not wait for a decision. darwin review lists what does.")
        _answer(opened, contender, Choice.MERGE if approve else Choice.REJECT, reason, screen)
        return
    if json:
        options.print_json([i.model_dump(mode="json", by_alias=True) for i in queue])
        return
    if not queue:
        screen.say("Nothing waits for a decision.")
        return
    if options.interactive():
        _ask(folder, screen, every=all_)
        return
    for contender in queue:
        screen.say(
            f"{contender.id} by {contender.author}: {safe(contender.subject)}; {describe_verdict(contender)}."
        )
    screen.say(f"Decide with: darwin review --approve {queue[0].id} (or --reject), or at a terminal.")


def revert(id: options.ID, workspace: options.Workspace = None, reason: Reason = "") -> None:
    """Take the last merge back: main is again the script from before it, and the agents are told why.

    \b
    Examples:
      darwin revert main --reason "does not train on two GPUs"
      darwin revert g003-ada
    """
    opened = _opened(locate(workspace), Screen())
    merged = opened.memory.resolve(id)
    decision = opened.memory.decisions.get(merged.id)
    if decision is None or decision.choice is not Choice.MERGE:
        raise UsageError(f"{merged.id} is not merged, so there is nothing to take back.")
    _answer(opened, merged, Choice.REVERT, reason, Screen())


def _opened(folder: Path, screen: Screen) -> Workspace:
    """The workspace, after what was left there is carried out: a run ended before, or main was not in place."""
    opened = open_workspace(folder)
    if not answers.answered(folder):
        return opened
    settle(folder, screen)
    return open_workspace(folder)


def _queue(opened: Workspace) -> list[Individual]:
    """What waits for a decision and has not been answered a moment ago, the best first."""
    if not opened.memory.begun:
        return []
    answered = answers.answered(opened.folder)
    return [c for c in gate.waiting(opened.memory)[::-1] if c.id not in answered]


def _answer(opened: Workspace, contender: Individual, choice: Choice, reason: str, screen: Screen) -> None:
    answer = Answer(
        choice=choice,
        by=opened.lineage.person(),
        reason=safe(reason, 500),
        tree=contender.tree,
        main=opened.memory.run.main,
    )
    answers.post(opened.folder, contender.id, answer)
    if settle(opened.folder, screen):
        raise typer.Exit(2)


def _ask(folder: Path, screen: Screen, *, every: bool) -> None:
    """Show one contender after the other, the best first, until nothing is left or the person leaves."""
    asked: set[str] = set()
    while True:
        opened = open_workspace(folder)
        queue = _queue(opened)
        first = queue if every else queue[:1] + [c for c in queue[1:] if c.operator == gate.EDIT]
        left = [c for c in first if c.id not in asked]
        if not left or (asked and not every):
            break
        asked.add(left[0].id)
        case = gate.case(opened.memory, opened.lineage, left[0])
        with screen.alone():
            desk = Desk(screen.console, Keys(), opened.lineage.person(), partial(rule, folder=folder))
            answer = desk.review(case, opened.lineage.files(left[0].commit))
        if answer is None:
            screen.say(f"{left[0].id} is left as it was: undecided.")
        else:
            _post(folder, left[0], answer, screen)
        if answers.anything(folder):
            settle(folder, screen)
        if answer is None:
            break
    others = len([c for c in queue if c.id not in asked])
    if others and not every:
        screen.say(f"{counted(others, 'other change')} were better than main on the way: darwin review --all")


def _post(folder: Path, contender: Individual, answer: Answer, screen: Screen) -> None:
    try:
        answers.post(folder, contender.id, answer)
    except UsageError as error:
        screen.say(str(error), "yellow")


def settle(folder: Path, screen: Screen) -> bool:
    """Carry answers out now, or leave them to the run that holds the workspace; True where one changed nothing."""
    try:
        with locked(folder):
            opened = open_workspace(folder)
            for sentence in opened.lineage.repair(opened.memory):
                screen.say(sentence)
            told = (
                advice.take_up(opened.memory, folder, lambda: opened.memory.run)
                if opened.memory.begun
                else []
            )
            ruled = requests.take_up(opened.memory, folder) if opened.memory.begun else []
            for sentence in (*told, *ruled):
                screen.say(sentence)
            done, refused, kept = gate.carry_out(
                opened.memory, opened.lineage, folder, lambda: opened.memory.run
            )
            for contender, decision in done:
                screen.decided(contender, decision, opened.lineage.shows(opened.memory.run.main))
            if any(decision.choice in (Choice.EDIT, Choice.STALE) for _, decision in done):
                screen.say(f"It is trained and judged by: darwin evolve -C {folder}")
    except InUse:
        screen.say("Noted. The run that is going on carries it out at its next step.")
        return False
    unfinished = [*refused, *([kept] if kept else [])]
    for sentence in unfinished:
        screen.say(sentence, "yellow")
    return bool(unfinished)
