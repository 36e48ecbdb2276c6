"""Learning curves: what scripts say of their own training as it goes on. Nothing in them is believed or decides."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from darwin.sandbox import Job

MOST_POINTS = 400
BARS = "▁▂▃▄▅▆▇█"

Point = tuple[float, float]
"""Training tokens so far, and the loss that the script claims then, in nats per token."""


class Curves:
    """Collects the points of the trials that run now, and writes each curve beside its script's logs when it ends."""

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._points: dict[tuple[str, str, int], list[Point]] = defaultdict(list)

    def note(self, job: Job, event: dict[str, Any]) -> None:
        """Take an event of a trial; a phase that begins anew begins its curve anew."""
        points = self._points[job.label, job.budget, job.seed]
        if event.get("event") == "phase" and event.get("phase") == "train":
            points.clear()
        tokens, loss = event.get("tokens"), event.get("loss")
        if isinstance(tokens, int | float) and isinstance(loss, int | float):
            points.append((tokens, loss))
            if len(points) > MOST_POINTS:
                del points[1::2]

    def keep(self, label: str, budget: str, seed: int) -> None:
        """Write a trial's curve, if it has one, and forget it."""
        points = self._points.pop((label, budget, seed), [])
        if points:
            path = path_of(self._artifacts, label, budget, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(points) + "\n")


def path_of(artifacts: Path, label: str, budget: str, seed: int) -> Path:
    """Where the curve of a trial is kept."""
    return artifacts / label / f"curve-{budget}-{seed}.json"


def load(artifacts: Path, label: str, budget: str, seed: int) -> list[Point]:
    """A kept curve; empty where there is none that can be read."""
    try:
        rows = json.loads(path_of(artifacts, label, budget, seed).read_text())
        return [(float(tokens), float(loss)) for tokens, loss in rows]
    except (OSError, ValueError, TypeError):
        return []


def sparkline(values: list[float], width: int = 12) -> str:
    """The last values as bars, the lowest one lowest."""
    if not values:
        return ""
    step = max(1, len(values) // width)
    shown = values[::-1][::step][::-1][-width:]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(BARS[min(len(BARS) - 1, int((value - low) / span * len(BARS)))] for value in shown)
