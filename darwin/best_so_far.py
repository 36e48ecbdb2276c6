"""The best perplexity so far against what it cost, for comparing runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from darwin.evolution import purpose
from darwin.memory import Memory
from darwin.memory.records import Status, perplexity


@dataclass(frozen=True)
class Point:
    """After one more child: CPU seconds of all children's trials so far, and the best perplexity among them."""

    cpu_seconds: float
    perplexity: float
    individual: str


def curve(memory: Memory) -> list[Point]:
    """The base, which costs nothing, then a point a child, in order of birth. Verdicts and the closing are left out."""
    base, budget = memory.resolve("base"), memory.run.budget
    if base.loss is None:
        return []
    points, best = [Point(0.0, perplexity(base.loss), base.id)], base
    spent = 0.0
    for child in memory.individuals.values():
        if not child.parents or child.operator == "ablation":
            continue
        own = [
            t for t in child.trials if t.budget == budget and t.split == "val" and purpose(t) == "selection"
        ]
        spent += sum(t.cpu_seconds or 0.0 for t in (*own, *([child.screening] if child.screening else [])))
        if child.status is Status.TRAINED and child.rank < best.rank:
            best = child
        points.append(Point(round(spent, 2), perplexity(best.rank[0]), best.id))
    return points


def at(points: Sequence[Point], cpu_seconds: float) -> Point | None:
    """What a run had after so many CPU seconds; None once it has ended."""
    if not points or cpu_seconds > points[-1].cpu_seconds:
        return None
    return [p for p in points if p.cpu_seconds <= cpu_seconds][-1]


def marks(curves: Sequence[Sequence[Point]], count: int = 10) -> list[float]:
    """Evenly spaced CPU seconds, to the end of the longest curve."""
    longest = max((points[-1].cpu_seconds for points in curves if points), default=0.0)
    return [longest * n / count for n in range(count + 1)]
