"""What an agent is: a name, a kind, a temperament, and a proposal for a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from darwin.agents.briefing import Briefing
from darwin.memory.effects import Effects
from darwin.memory.records import AgentMemory, Expectation, Lesson
from darwin.memory.requests import Wish

Number = int | float
Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""A task to an agent's program and its answer, both as JSON would hold them."""
Launch = Callable[[str], Ask]
"""How to ask the program of the agent of that name, wherever it runs."""


@dataclass(frozen=True)
class Task:
    """All that an agent is given to rewrite another agent's script.

    ``files`` are the evolvable sources by name, ``fixed`` the settings that a trial sets itself, ``context`` the
    judged window in tokens, ``applied`` the ids of techniques already in the target's lineage. ``effects`` is what
    ideas are expected to do, ``has`` what the target has that the base has not (idea -> amount), ``gain`` its lead over
    the base in nats, ``steps`` the doublings by which settings are changed now, ``aim`` perplexity or mfu.
    ``briefing`` is for agents that ask a model; ``told`` says why this child's earlier proposals were not taken,
    ``rejected`` the ideas in changes that people turned down, and how often; ``advice`` is what people tell this agent.
    ``requests`` says what was asked of people and what came of it, ``packages`` what can be imported beside torch and
    numpy, ``data`` names of granted data sets (``<name>.bin`` beside train.bin), ``room`` how many times as large the
    budget is as at the start.
    """

    child: str
    attempt: int
    agent: str
    temperament: str
    seed: int
    target: str
    owner: str
    files: Mapping[str, str]
    fixed: tuple[str, ...]
    context: int
    applied: tuple[str, ...]
    lessons: tuple[Lesson, ...]
    own: AgentMemory
    generation: int = 1
    effects: Effects = field(default_factory=lambda: Effects({}))
    has: Mapping[str, float] = field(default_factory=dict)
    gain: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)
    aim: str = "perplexity"
    briefing: Briefing | None = None
    told: tuple[str, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    room: float = 1.0


@dataclass(frozen=True)
class Proposal:
    """A rewritten script and what its author expects of it.

    ``files`` are whole new contents, ``subject`` a commit subject (imperative, 72 characters at most),
    ``settings`` the changed ones as (from, to), ``shown`` the ids of what its author was given, ``wish``
    what its author asks people for beside.
    """

    files: Mapping[str, str]
    subject: str
    hypothesis: str
    expected: Expectation
    techniques: tuple[str, ...] = ()
    settings: Mapping[str, tuple[Number, Number]] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    family: str | None = None
    wish: Wish | None = None


class Agent(Protocol):
    """An independent rewriter."""

    @property
    def name(self) -> str:
        """As it signs: Ada."""

    @property
    def kind(self) -> str:
        """rules, or a kind that asks a model."""

    @property
    def temperament(self) -> str:
        """What it is inclined to, in a word."""

    def propose(self, task: Task) -> Proposal:
        """A rewrite of ``task.files``; the same task gives the same proposal if ``kind`` is rules."""
