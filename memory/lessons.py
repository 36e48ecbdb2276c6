"""Lessons: what the trials so far say about each technique and setting, with the trials that say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from darwin.memory.effects import Effects, Estimate, change_of
from darwin.memory.records import AgentMemory, Attempt, Claim, Decision, Individual, Lesson, Status

FIRST_STEP, LEAST_STEP, LARGEST_STEP = 1.0, 0.2, 1.6
"""Doublings of a setting's step: at first, at least, at most."""

LONGER, SHORTER = 1.4, 0.7
"""How a step changes after a change of that setting that helped, and after one that did not (as in evolution
strategies: steps grow while they succeed)."""


def ideas(techniques: Iterable[str], settings: Mapping[str, tuple[Any, Any]]) -> tuple[str, ...]:
    """The lesson ids that a change is evidence for: ``technique:<id>`` and ``setting:<name>:<up|down>``."""
    return (
        *(f"technique:{technique}" for technique in techniques),
        *(f"setting:{name}:{'up' if new > old else 'down'}" for name, (old, new) in settings.items()),
    )


def lesson_of(idea: str, amount: float) -> str:
    """The lesson id of an idea of the model and its amount."""
    return idea if idea.startswith("technique:") else f"{idea}:{'up' if amount > 0 else 'down'}"


def unit(lesson: str) -> dict[str, float]:
    """The change that a lesson is about: a technique, or one doubling (or halving) of a setting."""
    if lesson.startswith("technique:"):
        return {lesson: 1.0}
    idea, _, way = lesson.rpartition(":")
    return {idea: 1.0 if way == "up" else -1.0}


Tried = dict[str, tuple[Individual, tuple[str, ...]]]
"""The lessons that each individual is a try of, with the record that they follow from."""


def distil(
    individuals: Iterable[Individual], effects: Effects, known: Tried | None = None
) -> tuple[Lesson, ...]:
    """Lessons on all ideas that were tried, in order of their ids; retired ones after the one in force.

    Pure; ``known`` keeps what follows from records that are still the same.
    """
    known = {} if known is None else known
    tried: dict[str, list[Individual]] = defaultdict(list)
    for individual in individuals:
        earlier = known.get(individual.id)
        if earlier is None or earlier[0] is not individual:
            earlier = known[individual.id] = individual, _tries(individual)
        for lesson in earlier[1]:
            tried[lesson].append(individual)
    implied: dict[str, list[tuple[str, float]]] = defaultdict(list)
    others = iter(effects.expected_of_others())
    for seen in effects.observed:
        for idea, amount in seen.change.items():
            taken_out = idea.startswith("technique:") and amount < 0
            effect = (seen.difference - next(others)) * (-1 if taken_out else 1)
            implied[lesson_of(idea, amount)].append((seen.individual, effect))
    found: list[Lesson] = []
    for lesson in sorted(tried):
        found += _lessons(lesson, tried[lesson], implied[lesson], effects.of(unit(lesson)))
    return tuple(found)


def _tries(individual: Individual) -> tuple[str, ...]:
    """The lessons that an individual is a try of; a script that fails without an idea says nothing against the idea."""
    if individual.status not in (Status.TRAINED, Status.FAILED):
        return ()
    changed = change_of(individual).items()
    return tuple(lesson_of(idea, amount) for idea, amount in changed if idea not in individual.without)


def _lessons(
    lesson: str, tried: list[Individual], implied: list[tuple[str, float]], estimate: Estimate
) -> list[Lesson]:
    """The lesson in force, and what was claimed before and is contradicted by now."""
    failed = [i.id for i in tried if i.status is Status.FAILED]
    helped = [i for i, effect in implied if effect < 0]
    hurt = [i for i, effect in implied if effect >= 0]
    claim = Claim.HELPS if estimate.short < 0 else Claim.HURTS

    def one(claim: Claim, retired: bool) -> Lesson:
        supporting, contradicting = (helped, hurt) if claim is Claim.HELPS else (hurt, helped)
        names = dict.fromkeys([*contradicting, *failed] if claim is Claim.HELPS else contradicting)
        return Lesson(
            id=f"{lesson}:{claim}" if retired else lesson,
            claim=claim,
            retired=retired,
            effect=None if retired or not implied else estimate.short,
            sd=None if retired or not implied else estimate.short_sd,
            long_effect=None if retired or not implied else estimate.long,
            long_sd=None if retired or not implied else estimate.long_sd,
            mfu=None if retired or not implied else estimate.mfu,
            mfu_sd=None if retired or not implied else estimate.mfu_sd,
            tried=len(tried),
            failed=len(failed),
            supporting=tuple(dict.fromkeys(supporting)),
            contradicting=tuple(names),
        )

    claims = _claims(implied)
    found = [one(claim, retired=False)]
    other = Claim.HURTS if claim is Claim.HELPS else Claim.HELPS
    return [*found, one(other, retired=True)] if other in claims else found


def _claims(implied: list[tuple[str, float]]) -> set[Claim]:
    """What the mean of the trials so far said, after each of them."""
    total, claims = 0.0, set()
    for _, effect in implied:
        total += effect
        claims.add(Claim.HELPS if total < 0 else Claim.HURTS)
    return claims


def steps(individuals: Iterable[Individual]) -> dict[str, float]:
    """The step of each setting that was tried, in doublings, from what came of the tries, in order of birth."""
    found: dict[str, float] = {}
    for individual in individuals:
        if individual.status not in (Status.TRAINED, Status.FAILED) or individual.operator != "mutation":
            continue
        for name in individual.settings:
            helped = individual.delta.get("parent", 1.0) < 0
            step = found.get(name, FIRST_STEP) * (LONGER if helped else SHORTER)
            found[name] = min(LARGEST_STEP, max(LEAST_STEP, step))
    return found


Known = dict[str, tuple[Individual, Decision | None, Attempt]]
"""Attempts by child, with the records that they were made from."""


def attempts_of(
    agent: str, individuals: Iterable[Individual], decisions: dict[str, Decision], known: Known
) -> tuple[Attempt, ...]:
    """What one agent tried, on whose script, and what came of it, in order of birth.

    A decision on a script that an ablation made is told to the author of the script that it was made from. ``known``
    keeps the attempts of individuals and decisions that are still the same.
    """
    individuals = list(individuals)
    thinned = {
        i.parents[0]: decisions[i.id] for i in individuals if i.operator == "ablation" and i.id in decisions
    }
    decisions = thinned | decisions
    found = []
    for one in individuals:
        if one.author != agent:
            continue
        decision = decisions.get(one.id)
        earlier = known.get(one.id)
        if earlier is None or earlier[0] is not one or earlier[1] is not decision:
            known[one.id] = one, decision, _attempt(one, decision)
        found.append(known[one.id][2])
    return tuple(found)


def _attempt(one: Individual, decision: Decision | None) -> Attempt:
    return Attempt(
        child=one.id,
        target=one.parents[0],
        owner=one.owner or "",
        techniques=one.techniques,
        settings=one.settings,
        expected=one.expected,
        status=one.status,
        delta=one.delta.get("parent"),
        verdict=one.verdict.outcome if one.verdict else None,
        decision=decision.choice if decision else None,
        reason=(decision.reason if decision else "") or one.reason,
    )


def memory_of(
    name: str,
    kind: str,
    temperament: str,
    individuals: Iterable[Individual],
    decisions: dict[str, Decision],
    known: Known | None = None,
) -> AgentMemory:
    """One agent's memory, derived from the records; ``known`` as for ``attempts_of``."""
    attempts = attempts_of(name, individuals, decisions, {} if known is None else known)
    return AgentMemory(name=name, kind=kind, temperament=temperament, attempts=attempts)
