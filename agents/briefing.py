"""What an agent that asks a model is told about a script, beyond its files: results, neighbours, people's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from darwin.agents.novelty import Changes
from darwin.memory.records import Decision, Finding, Individual


@dataclass(frozen=True)
class Known:
    """What the trials say about one idea: its effect on log perplexity with a 90 % interval, how often it was tried and
    failed, the last reason of a failure, and its effect on runs that are ``larger`` times as long."""

    id: str
    effect: float | None
    interval: tuple[float, float] | None
    tried: int
    failed: int
    why: str = ""
    long_effect: float | None = None


@dataclass(frozen=True)
class Rewritten:
    """An individual with its evolvable files, by name; ``why`` says what makes it worth showing."""

    individual: Individual
    files: Mapping[str, str] = field(repr=False)
    why: str = ""


@dataclass(frozen=True)
class Idea:
    """What the individual ``id`` changed in the script it rewrote."""

    id: str
    changes: Changes = field(repr=False)


@dataclass(frozen=True)
class Briefing:
    """All of it.

    ``lineage`` are the target's ancestors, oldest first; ``tried`` other rewrites of the target and of its parent,
    latest last; ``ideas`` what was tried on the target or an ancestor, to know a proposal that is nearly one of them;
    ``noise`` the standard deviation of the base's loss over seeds, in nats per token.
    """

    budget: str
    larger: int
    base: Individual
    target: Individual
    lineage: tuple[Individual, ...] = ()
    tried: tuple[Rewritten, ...] = ()
    ideas: tuple[Idea, ...] = ()
    contrasts: tuple[Rewritten, ...] = ()
    known: tuple[Known, ...] = ()
    findings: tuple[Finding, ...] = ()
    decisions: tuple[Decision, ...] = ()
    hint: str = ""
    noise: float | None = None
    knowledge: bool = True
