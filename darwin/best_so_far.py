"""The best perplexity so far against what it cost, for comparing runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from darwin.evolution import purpose
from darwin.memory import Memory
from darwin.memory.records import Status, Usage, perplexity


@dataclass(frozen=True)
class Point:
    """After one more child: what all children have cost so far, and the best perplexity among them.

    ``cpu_seconds`` of their trials; ``model_tokens`` (prompts and completions) and ``dollars`` of the models that wrote
    them, failed ones too: 0 where none was asked, None from the first on whose price is not known.
    """

    cpu_seconds: float
    perplexity: float
    individual: str
    model_tokens: int = 0
    dollars: float | None = 0.0


class Axis(StrEnum):
    """What runs are compared by: a field of ``Point``."""

    CPU = "cpu_seconds"
    DOLLARS = "dollars"
    TOKENS = "model_tokens"


def curve(memory: Memory) -> list[Point]:
    """The base, which costs nothing, then a point a child, in order of birth. Verdicts and the closing are left out."""
    base, budget = memory.resolve("base"), memory.run.budget
    if base.loss is None:
        return []
    points, best = [Point(0.0, perplexity(base.loss), base.id)], base
    spent, asked = 0.0, Usage()
    for child in memory.individuals.values():
        if not child.parents or child.operator == "ablation":
            continue
        own = [
            t for t in child.trials if t.budget == budget and t.split == "val" and purpose(t) == "selection"
        ]
        spent += sum(t.cpu_seconds or 0.0 for t in (*own, *([child.screening] if child.screening else [])))
        asked += child.usage or Usage()
        if child.status is Status.TRAINED and child.rank < best.rank:
            best = child
        tokens = asked.prompt_tokens + asked.completion_tokens
        points.append(Point(round(spent, 2), perplexity(best.rank[0]), best.id, tokens, asked.dollars))
    return points


def axes(curves: Sequence[Sequence[Point]]) -> list[Axis]:
    """What there is to compare by: CPU seconds; and if models were asked dollars, or tokens where dollars say nothing,
    since some price is not known or all are 0."""
    asked = [points[-1] for points in curves if points and points[-1].model_tokens]
    if not asked:
        return [Axis.CPU]
    priced = all(last.dollars is not None for last in asked) and any(last.dollars for last in asked)
    return [Axis.CPU, Axis.DOLLARS if priced else Axis.TOKENS]


def at(points: Sequence[Point], mark: float, axis: Axis = Axis.CPU) -> Point | None:
    """What a run had when it had cost so much; None once it has ended, and where its cost is not known."""
    if not points or (_end(points, axis) or 0.0) < mark:
        return None
    return [p for p in points if getattr(p, axis) is not None and getattr(p, axis) <= mark][-1]


def marks(curves: Sequence[Sequence[Point]], axis: Axis = Axis.CPU, count: int = 10) -> list[float]:
    """Evenly spaced costs, to the end of the longest curve."""
    longest = max((_end(points, axis) or 0.0 for points in curves if points), default=0.0)
    return [longest * n / count for n in range(count + 1)]


def _end(points: Sequence[Point], axis: Axis) -> float | None:
    end: float | None = getattr(points[-1], axis)
    return end
