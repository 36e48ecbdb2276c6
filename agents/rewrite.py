"""Ask an agent until it offers something new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from darwin.agents.agent import Agent, Proposal, Task
from darwin.agents.answers import NeverUsable
from darwin.agents.errors import AgentError, Unanswered, Unusable
from darwin.agents.novelty import changes, fingerprint, near
from darwin.memory.records import Expectation


class Refused(AgentError):
    """Every proposal was refused before it cost a training run; ``proposal`` is the last of them, ``unusable`` whether
    the last answer of a model could not be used."""

    def __init__(self, reason: str, proposal: Proposal, unusable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.proposal = proposal
        self.unusable = unusable


def rewrite(
    agent: Agent,
    task: Task,
    known: Callable[[str], bool],
    attempts: int = 8,
    first: Callable[[], Proposal] | None = None,
    say: Callable[[str], object] = lambda reason: None,
) -> Proposal:
    """The agent's first proposal that is neither a no-op nor ``known`` (asked by fingerprint) nor nearly an idea
    that was tried on its lineage.

    The agent is asked with attempt numbers from ``task.attempt`` on, and told why the ones before were not taken, as
    is ``say``; ``first`` gives its first proposal, where it was asked already.
    Raises Refused after ``attempts`` of them, and where no answer is to be had.
    """
    here = fingerprint(task.files)
    reason, unusable = "", False
    proposal = _nothing(task)
    for attempt in range(task.attempt, task.attempt + attempts):
        try:
            asked, first = first or partial(agent.propose, replace(task, attempt=attempt)), None
            proposal = asked()
        except Unanswered as error:
            never = isinstance(error, NeverUsable)
            raise Refused(f"No child by {agent.name}: {error}.", _nothing(task), never) from error
        except Unusable as error:
            reason, proposal = f"it could not be used ({str(error).rstrip('.')})", _nothing(task)
            unusable = True
        else:
            reason, unusable = _known_reason(task, proposal, here, known), False
            if not reason:
                return proposal
        if attempt + 1 < task.attempt + attempts:
            say(reason)
        task = replace(task, told=(*task.told, f"{proposal.subject}: not taken, {reason}."))
    sentence = f"{agent.name} offered nothing new in {attempts} attempts: the last was refused, {reason}."
    raise Refused(sentence, proposal, unusable)


def _known_reason(task: Task, proposal: Proposal, here: str, known: Callable[[str], bool]) -> str:
    """Why a proposal is nothing new; "" where it is."""
    there = fingerprint(proposal.files)
    if there == here:
        return "it changes nothing"
    if known(there):
        return "its script is known already"
    mine = changes(task.files, proposal.files)
    for idea in task.briefing.ideas if task.briefing else ():
        if near(mine, idea.changes):
            return f"it is nearly what {idea.id} changed, which was tried already"
    return ""


def _nothing(task: Task) -> Proposal:
    """The target as it is."""
    return Proposal(task.files, f"Change nothing in {task.target}", "", Expectation())
