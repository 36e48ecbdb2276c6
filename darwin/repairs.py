"""Repairs: a rewrite that does not even begin to train goes back to its author before a training run is paid for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from darwin.agents import Proposal, Task
from darwin.agents.chat import ASKED_AGAIN, REPAIRS, ChatAgent, syntax_error
from darwin.agents.errors import Unanswered, Unusable
from darwin.briefing import rewritten
from darwin.evolution import Evolution
from darwin.memory.records import Individual, Status, TrialStatus
from darwin.sandbox import Job
from darwin.screen import safe

KEPT = 4000  # characters of an error that a record keeps


def repaired(
    evolution: Evolution, agent: ChatAgent, task: Task, proposal: Proposal, genome: Mapping[str, bytes]
) -> tuple[Proposal, tuple[str, ...]]:
    """The proposal after at most ``REPAIRS`` tries to mend it, and the errors that its author was handed.

    What still fails then goes to its trial all the same, which records how.
    """
    errors: list[str] = []
    error = failure(evolution, task, proposal, genome)
    while error is not None and len(errors) < REPAIRS:
        last = (error.strip().splitlines() or ["no word"])[-1]
        evolution.screen.say(
            f"{task.child:14} {agent.name} repairs it, {len(errors) + 1} of {REPAIRS}: {safe(last)}"
        )
        errors.append(error[-KEPT:])
        try:
            proposal = agent.repair(replace(task, attempt=len(errors)), proposal, error)
        except Unusable as unusable:
            task = _told(evolution, agent, task, unusable)
            continue
        except Unanswered as unanswered:
            evolution.screen.say(
                f"{task.child:14} goes to its trial unrepaired: {safe(str(unanswered), 300)}", "yellow"
            )
            return proposal, tuple(errors)
        error = failure(evolution, task, proposal, genome)
    if error is not None:
        evolution.screen.say(
            f"{task.child:14} goes to its trial unrepaired: {REPAIRS} tries did not mend it.", "yellow"
        )
    return proposal, tuple(errors)


def resolved(
    evolution: Evolution,
    agent: ChatAgent,
    task: Task,
    marked: Mapping[str, str],
    sides: Sequence[Individual],
) -> dict[str, str] | None:
    """Files with conflict markers as the agent makes them whole; None where it does not in three tries."""
    shown = [rewritten(evolution, side) for side in sides]
    for _ in range(ASKED_AGAIN + 1):
        try:
            return agent.resolve(task, marked, shown)
        except Unusable as unusable:
            task = _told(evolution, agent, task, unusable)
        except Unanswered as unanswered:
            evolution.screen.say(f"{task.child:14} no merge: {safe(str(unanswered), 300)}", "yellow")
            return None
    return None


def _told(evolution: Evolution, agent: ChatAgent, task: Task, unusable: Unusable) -> Task:
    """The task of which the agent is told why its answer could not be used."""
    evolution.screen.say(
        f"{task.child:14} {agent.name}'s answer cannot be used: {safe(str(unusable), 300)}", "yellow"
    )
    return replace(task, told=(*task.told, str(unusable)))


def failure(evolution: Evolution, task: Task, proposal: Proposal, genome: Mapping[str, bytes]) -> str | None:
    """Why a proposal does not begin to train: Python's word where it does not parse, else its smoke run's; or None."""
    error = syntax_error(proposal.files)
    if error is not None or evolution.smoke is None:
        return error
    files = {**genome, **{path: text.encode() for path, text in proposal.files.items()}}
    with evolution.events.step("smoke", individual=task.child):
        trial = evolution.smoke(
            Job(task.child, files, evolution.seeds("selection", 1)[0], None, evolution.run.budget)
        )
    if trial.status is TrialStatus.OK:
        return None
    return f"{trial.status.replace('_', ' ')} in its {trial.phase} phase\n{trial.error or ''}"


@dataclass(frozen=True)
class Shares:
    """Of the births for which models answered: how many failed as first written, and how many of those were repaired.

    ``failing`` counts what had to go back to its author, what came to no loss, and the ``unusable``: births whose
    answers could not be used, though the model was asked three times. Not counted are births refused because they were
    nothing new (nobody ran them), and those that no model answered for.
    """

    written: int
    failing: int
    repaired: int
    unusable: int


PAPER_FAILING, PAPER_REPAIRED = "37.5 %", "16.67 %"
"""What the DARWIN paper (arXiv:2602.05848) reports of its own rewrites."""


def shares(individuals: Iterable[Individual]) -> Shares:
    """The shares of a run, from its records."""
    asked = [i for i in individuals if i.model is not None and i.status is not Status.BORN]
    written = [i for i in asked if i.unusable or i.status is not Status.REFUSED]
    failing = [i for i in written if i.repairs or i.status is not Status.TRAINED]
    repaired = sum(i.status is Status.TRAINED for i in failing)
    return Shares(len(written), len(failing), repaired, sum(i.unusable for i in written))


def in_words(found: Shares) -> str:
    """The shares beside the paper's; repaired ones of those that failed and of all, whichever it means."""
    unusable = f", {found.unusable} of them for want of a usable answer" if found.unusable else ""
    words = (
        f"Written by models: {found.written}; {found.failing} failed as first written{unusable} "
        f"({_percent(found.failing, found.written)}; the DARWIN paper: {PAPER_FAILING})"
    )
    if not found.failing:
        return words
    return (
        f"{words}, {found.repaired} of these were repaired ({_percent(found.repaired, found.failing)}, of all "
        f"{_percent(found.repaired, found.written)}; the paper: {PAPER_REPAIRED})"
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
