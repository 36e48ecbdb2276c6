"""``darwin review``."""

from __future__ import annotations

from typing import Annotated

import typer

from darwin import gate
from darwin.cli import options
from darwin.errors import UsageError
from darwin.memory.memory import describe_verdict
from darwin.memory.records import Choice
from darwin.reviewers import Terminal
from darwin.screen import Screen, safe
from darwin.workspace import locate, locked, open_workspace


def review(
    workspace: options.Workspace = None,
    merge: Annotated[
        str | None, typer.Option(help="Merge this one without asking", show_default=False)
    ] = None,
    reject: Annotated[
        str | None, typer.Option(help="Reject this one without asking", show_default=False)
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the decision")] = "",
) -> None:
    """Merge or reject what was proven better and waits for a decision.

    Without a terminal it lists what waits; --merge and --reject decide.

    \b
    Examples:
      darwin review
      darwin review --reject g003-ada --reason "too slow on our GPU"
    """
    folder = locate(workspace)
    open_workspace(folder)  # a folder that is none is named before it is locked
    with locked(folder):
        opened = open_workspace(folder)
        memory, lineage, screen = opened.memory, opened.lineage, Screen()
        for sentence in lineage.repair(memory):
            screen.say(sentence)
        queue = gate.waiting(memory)[::-1]
        named = merge or reject
        if named is not None:
            if merge and reject:
                raise UsageError("--merge and --reject are two decisions. Give one of them.")
            contender = memory.resolve(named)
            if contender not in queue:
                raise UsageError(
                    f"{contender.id} does not wait for a decision. darwin review lists what does."
                )
            choice = Choice.MERGE if merge else Choice.REJECT
            answer = gate.Answer(choice, lineage.person(), safe(reason, 500))
            decision = gate.decide(memory, lineage, contender, answer, memory.run)
            screen.decided(contender, decision, lineage.shows(memory.run.main))
            return
        if not queue:
            screen.say("Nothing waits for a decision.")
            return
        for contender in queue:
            screen.say(
                f"{contender.id} by {contender.author}: {safe(contender.subject)}; {describe_verdict(contender)}."
            )
        if not options.interactive():
            screen.say(f"Decide with: darwin review --merge {queue[0].id} (or --reject), or at a terminal.")
            return
        answer = Terminal(screen, lineage.person()).review(gate.case(memory, lineage, queue[0]))
        lineage.forget_processes()
        decision = gate.decide(memory, lineage, queue[0], answer, memory.run)
        screen.decided(queue[0], decision, lineage.shows(memory.run.main))
