"""The end of a run in numbers: what the best script is made of, what failed and why, where the time went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from darwin.headline import best
from darwin.memory import Memory
from darwin.memory.lessons import ideas
from darwin.memory.records import Individual, Status
from darwin.plan import spent


@dataclass(frozen=True)
class Step:
    """One change on the way from the base to the best script; ``effect``: log perplexity to its parent, first seed."""

    id: str
    author: str
    subject: str
    ideas: tuple[str, ...]
    effect: float | None


def steps(memory: Memory) -> list[Step]:
    """What the champion (else the best script) is made of, the largest gain first."""
    found = []
    one: Individual | None = best(memory)
    while one is not None and one.parents:
        names = ideas(one.techniques, one.settings)
        found.append(Step(one.id, one.author or "", one.subject, names, one.delta.get("parent")))
        one = memory.individuals.get(one.parents[0])
    return sorted(found, key=lambda step: (step.effect is None, step.effect or 0.0))


def failures(memory: Memory) -> list[tuple[str, int]]:
    """Why children came to no loss, and how many each; the most frequent reason first."""
    unsound = (Status.REFUSED, Status.FAILED, Status.DISQUALIFIED)
    counts = Counter(
        f"{i.status}: {i.reason.partition(':')[0] if i.status is Status.REFUSED else i.reason}"
        if i.reason
        else i.status
        for i in memory.individuals.values()
        if i.status in unsound
    )
    return counts.most_common()


def times(memory: Memory) -> dict[str, float]:
    """CPU seconds by what they were spent on; they add up to the run's."""
    found = spent(memory.run, memory.individuals)
    return {**found, "darwin and git": max(0.0, memory.run.cpu_seconds - sum(found.values()))}
