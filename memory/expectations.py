"""Expectations scored: what an agent expected of its changes against what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from darwin.memory.records import Attempt, Calibration


def calibration(attempts: Iterable[Attempt]) -> Calibration | None:
    """Over the attempts that were measured and came with an expectation; None where there is none yet."""
    pairs = [
        (a.delta, a.expected.log_perplexity)
        for a in attempts
        if a.delta is not None and a.expected.log_perplexity is not None
    ]
    if not pairs:
        return None
    misses = [measured - expected for measured, expected in pairs]
    return Calibration(
        scored=len(pairs),
        error=round(fmean(map(abs, misses)), 6),
        bias=round(fmean(misses), 6),
        direction=round(fmean((measured < 0) == (expected < 0) for measured, expected in pairs), 6),
    )
