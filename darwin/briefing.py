"""What an agent that asks a model is told about the script it rewrites, gathered from the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from darwin.agents.briefing import Briefing, Known, Rewritten
from darwin.evolution import Evolution
from darwin.genome import evolvable
from darwin.memory.records import Individual, Lesson, Status
from darwin.models import HINT
from darwin.sandbox.budget import LARGER
from darwin.variation import Birth

WITHIN_90 = 1.645  # standard deviations to each side hold 90 % of a normal distribution
NEIGHBOURS = 10  # rewrites of the same script that are looked at
FINDINGS = 30


def brief(evolution: Evolution, birth: Birth, before: int) -> Briefing:
    """The briefing for a birth, from individuals born before ordinal ``before``; nothing of theirs under no-memory."""
    memory, run = evolution.memory, evolution.run
    target = memory.individuals[birth.target]
    hint = evolution.workspace.folder / HINT
    told = Briefing(
        budget=run.budget,
        larger=LARGER,
        base=evolution.base,
        target=target,
        hint=hint.read_text(encoding="utf-8", errors="replace") if hint.is_file() else "",
        noise=run.noise.deviation if run.noise else None,
    )
    if run.control == "no-memory":
        return told
    people = {i.id: i for i in memory.born_before(before)}
    ancestors = ancestry(target, people)
    near = {target.id, *target.parents}
    tried = [i for i in people.values() if near & set(i.parents) and i.id not in {target.id, *ancestors}]
    return replace(
        told,
        lineage=tuple(people[i] for i in ancestors),
        tried=tuple(rewritten(evolution, i) for i in tried[-NEIGHBOURS:] if i.status is not Status.REFUSED),
        contrasts=tuple(_contrasts(evolution, target, people)),
        known=tuple(known(lesson, people) for lesson in memory.lessons(before) if not lesson.retired),
        findings=tuple(i.finding for i in list(people.values()) if i.finding is not None)[-FINDINGS:],
        decisions=tuple(d for d in memory.decisions.values() if d.id in people and d.settled < before),
    )


def rewritten(evolution: Evolution, individual: Individual, why: str = "") -> Rewritten:
    """An individual with its evolvable files."""
    return Rewritten(individual, evolvable(evolution.workspace.lineage.files(individual.commit)), why)


def ancestry(individual: Individual, people: Mapping[str, Individual]) -> list[str]:
    """Ids of all its ancestors, oldest first."""
    found: list[str] = []
    ahead = list(individual.parents)
    while ahead:
        one = ahead.pop()
        if one in people and one not in found:
            found.append(one)
            ahead += people[one].parents
    return sorted(found, key=lambda i: people[i].ordinal)


def known(lesson: Lesson, people: Mapping[str, Individual]) -> Known:
    """A lesson as a prompt tells it: its effect with an interval, the effect on long runs, why it failed last."""
    evidence = [people[i] for i in (*lesson.supporting, *lesson.contradicting) if i in people]
    interval = None
    if lesson.effect is not None and lesson.sd is not None:
        interval = (lesson.effect - WITHIN_90 * lesson.sd, lesson.effect + WITHIN_90 * lesson.sd)
    reasons = [_last_line(i) for i in evidence if i.status is Status.FAILED]
    why = reasons[-1] if reasons else ""
    return Known(lesson.id, lesson.effect, interval, lesson.tried, lesson.failed, why, lesson.long_effect)


def _last_line(individual: Individual) -> str:
    error = next((t.error for t in individual.trials if t.error), None) or individual.reason or ""
    return (error.strip().splitlines() or [""])[-1]


def _contrasts(
    evolution: Evolution, target: Individual, people: Mapping[str, Individual]
) -> Iterable[Rewritten]:
    """The best script of another lineage, and the one of the best MFU."""
    own = {target.id, *ancestry(target, people)}
    others = [
        i for i in people.values() if i.status is Status.TRAINED and i.id not in own and i.loss is not None
    ]
    strangers = [i for i in others if target.id not in ancestry(i, people)]
    if strangers:
        best = min(strangers, key=lambda i: i.rank)
        yield rewritten(evolution, best, "the best of another lineage")
        others = [i for i in others if i.id != best.id]
    fast = [i for i in others if i.mfu is not None]
    if fast:
        yield rewritten(evolution, max(fast, key=lambda i: (i.mfu or 0.0, -i.ordinal)), "the best MFU")
