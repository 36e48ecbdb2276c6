"""Lessons: what the trials so far say about each technique and setting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from darwin.memory.records import AgentMemory, Attempt, Decision, Individual, Lesson, Status


def ideas(techniques: Iterable[str], settings: Mapping[str, tuple[Any, Any]]) -> tuple[str, ...]:
    """The lesson ids that a change is evidence for: ``technique:<id>`` and ``setting:<name>:<up|down>``."""
    return (
        *(f"technique:{technique}" for technique in techniques),
        *(f"setting:{name}:{'up' if new > old else 'down'}" for name, (old, new) in settings.items()),
    )


def distil(individuals: Iterable[Individual]) -> tuple[Lesson, ...]:
    """Lessons from all individuals that were tried, in order of their ids; pure.

    A child with several ideas shares its effect out evenly among them.
    """
    found: dict[str, list[tuple[Individual, float | None, float | None]]] = defaultdict(list)
    by_id = {}
    for individual in individuals:
        by_id[individual.id] = individual
        if individual.status not in (Status.TRAINED, Status.FAILED):
            continue
        names = ideas(individual.techniques, individual.settings)
        for name in names:
            delta = individual.delta.get("parent")
            parent = by_id.get(individual.parents[0]) if individual.parents else None
            mfu = None
            if individual.mfu is not None and parent is not None and parent.mfu is not None:
                mfu = (individual.mfu - parent.mfu) / len(names)
            found[name].append((individual, None if delta is None else delta / len(names), mfu))
    return tuple(_lesson(name, found[name]) for name in sorted(found))


def _lesson(name: str, evidence: list[tuple[Individual, float | None, float | None]]) -> Lesson:
    effects = [delta for _, delta, _ in evidence if delta is not None]
    mfus = [mfu for _, _, mfu in evidence if mfu is not None]
    return Lesson(
        id=name,
        effect=fmean(effects) if effects else None,
        mfu=fmean(mfus) if mfus else None,
        tried=len(evidence),
        failed=sum(1 for individual, _, _ in evidence if individual.status is Status.FAILED),
        supporting=tuple(i.id for i, delta, _ in evidence if delta is not None and delta < 0),
        contradicting=tuple(i.id for i, delta, _ in evidence if delta is None or delta >= 0),
    )


def attempts_of(
    agent: str, individuals: Iterable[Individual], decisions: dict[str, Decision]
) -> tuple[Attempt, ...]:
    """What one agent tried, on whose script, and what came of it, in order of birth."""
    return tuple(
        Attempt(
            child=i.id,
            target=i.parents[0],
            owner=i.owner or "",
            techniques=i.techniques,
            settings=i.settings,
            expected=i.expected,
            status=i.status,
            delta=i.delta.get("parent"),
            verdict=i.verdict.outcome if i.verdict else None,
            decision=decisions[i.id].choice if i.id in decisions else None,
            reason=(decisions[i.id].reason if i.id in decisions else "") or i.reason,
        )
        for i in individuals
        if i.author == agent
    )


def memory_of(
    name: str, kind: str, temperament: str, individuals: Iterable[Individual], decisions: dict[str, Decision]
) -> AgentMemory:
    """One agent's memory, derived from the records."""
    return AgentMemory(
        name=name, kind=kind, temperament=temperament, attempts=attempts_of(name, individuals, decisions)
    )
