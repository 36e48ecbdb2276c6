"""Feedback: what people turned down, by idea, for those who write the next scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from darwin.memory.lessons import ideas
from darwin.memory.records import Choice, Decision, Individual


def rejected(
    individuals: Mapping[str, Individual], decisions: Mapping[str, Decision], before: int
) -> dict[str, int]:
    """Idea -> how many changes with it were rejected or taken back, of those decided before birth ``before``.

    A change is everything from the incumbent it was shown against to the contender; who said no said it to all of it.
    """
    counts: Counter[str] = Counter()
    for decision in decisions.values():
        if decision.choice in (Choice.REJECT, Choice.REVERT) and decision.settled < before:
            line = _line(individuals, decision)
            counts.update({idea for one in line for idea in ideas(one.techniques, one.settings)})
    return dict(sorted(counts.items()))


def _line(individuals: Mapping[str, Individual], decision: Decision) -> Iterator[Individual]:
    """The contender and its ancestors down to the incumbent (to itself alone, where that was the contender)."""
    one: Individual | None = individuals[decision.id]
    while one is not None and (one.id == decision.id or one.id != decision.incumbent):
        yield one
        one = individuals.get(one.parents[0]) if one.parents else None
