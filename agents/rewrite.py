"""Ask an agent until it offers something new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from darwin.agents.agent import Agent, Proposal, Task
from darwin.agents.errors import AgentError
from darwin.agents.novelty import fingerprint


class Refused(AgentError):
    """Every proposal was refused before it cost a training run; ``proposal`` is the last of them."""

    def __init__(self, reason: str, proposal: Proposal) -> None:
        super().__init__(reason)
        self.reason = reason
        self.proposal = proposal


def rewrite(agent: Agent, task: Task, known: Callable[[str], bool], attempts: int = 8) -> Proposal:
    """The agent's first proposal that is neither a no-op nor ``known`` (asked by fingerprint).

    The agent is asked with attempt numbers from ``task.attempt`` on. Raises Refused after ``attempts`` of them.
    """
    here = fingerprint(task.files)
    reason = ""
    for attempt in range(task.attempt, task.attempt + attempts):
        proposal = agent.propose(replace(task, attempt=attempt))
        there = fingerprint(proposal.files)
        if there != here and not known(there):
            return proposal
        reason = "it changes nothing" if there == here else "its script is known already"
    sentence = f"{agent.name} offered nothing new in {attempts} attempts: the last was refused, {reason}."
    raise Refused(sentence, proposal)
