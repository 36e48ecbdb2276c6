"""The training phase: find the tokens that a budget buys, train on them, and write the bill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from darwin.memory.records import TrialStatus
from darwin.sandbox.budget import (
    FAR_OVER,
    MARGIN,
    OVER,
    Budget,
    Point,
    Unit,
    believed,
    guess,
    tokens_for_flops,
)
from darwin.sandbox.forecast import Forecast
from darwin.sandbox.limits import Limits
from darwin.sandbox.pace import Pace
from darwin.sandbox.session import Failed, Inspected, Report, Session


@dataclass
class Training:
    """One job's way through smoke and training. ``measured`` collects what goes into its ``Trial``.

    ``data`` are the files of the train command's data folder; ``times`` is how many times the run's budget this
    job has. ``pace`` is the clock of the machine, where the budget is one of time on a CPU, and ``core`` the one it
    trains on, if that is known.
    """

    session: Session
    limits: Limits
    device: str
    pace: Pace | None
    seed: int
    data: Mapping[str, bytes] = field(repr=False)
    times: int = 1
    core: int | None = None
    measured: dict[str, Any] = field(default_factory=dict)

    def smoke(self, tokens: int, vocab_size: int) -> Inspected:
        """A few steps and one window through the model they made: what the model is like."""
        most = self.limits.smoke_cpu_seconds
        report = self.session.train("smoke", self.data, self.seed, tokens, most)
        self.session.check("smoke", report, most)
        return self.session.inspect("smoke", vocab_size)

    def train(self, tokens: int) -> float:
        """Train on exactly so many tokens; the bill in seconds, noted before the phase is checked."""
        bill = self._train(tokens, None)
        assert bill is not None
        return bill

    def _train(self, tokens: int, forecast: Forecast | None) -> float | None:
        """The same; None where the forecast stopped it."""
        most = self.limits.train_cpu_seconds * self.times
        report, slowdown = self._run("train", tokens, most, forecast)
        if forecast is not None and forecast.stopped and report.stopped == "host":
            return None
        bill = self._seconds(report) / (slowdown or 1.0)
        self.measured |= {
            "tokens": tokens, "seconds": bill, "slowdown": slowdown, "peak_memory": report.peak_memory,
        }  # fmt: skip
        self.session.check("train", report, most)
        self.measured["tokens_per_second"] = tokens / bill
        return bill

    def to_budget(
        self,
        budget: Budget,
        model: Inspected,
        few: int,
        parent_tokens: int | None = None,
        deviation: float = 0.0,
    ) -> None:
        """Train on the tokens that a budget buys this script; ``few`` are those of its smoke run, ``parent_tokens``
        those that the budget buys its parent; ``deviation`` is by how much bills of equal work differ, in logs."""
        if budget.unit is Unit.TOKENS:
            self.train(int(budget.amount))
        elif budget.unit is Unit.FLOPS:
            if model.flops_per_token is None or model.flops_per_token < 1:
                raise Failed(
                    TrialStatus.CRASHED, "smoke", "Its FLOPs cannot be counted, and the budget is in FLOPs."
                )
            self.train(tokens_for_flops(budget, model.flops_per_token))
        else:
            bill = self._to_seconds(budget.amount, few, parent_tokens, deviation)
            if bill > budget.amount * (1 + OVER):
                raise Failed(
                    TrialStatus.OVER_BUDGET, "train",
                    f"It took {bill:.1f} s of a budget of {budget} even after its tokens were corrected: its cost "
                    "does not follow --max_tokens.",
                )  # fmt: skip

    def _to_seconds(self, seconds: float, few: int, parent_tokens: int | None, deviation: float) -> float:
        """Train on the tokens that so many seconds buy, and return the bill, by both where there were two.

        The parent's tokens are tried, or what a rehearsal guesses; a run that seems to be far off is stopped on its
        way, once, and begun anew. Where it is more than ``MARGIN`` off (a child on its parent's tokens: by what is
        ``believed`` of its bill), the tokens are rescaled along the line through a short run and that one, and it
        trains once more. Who is slow gets fewer tokens, and nothing else happens to it.
        """
        short, tokens = (None, parent_tokens) if parent_tokens else self._rehearse(seconds, few)
        forecast = Forecast(tokens, seconds)
        bill = self._train(tokens, forecast)
        if bill is None:
            tokens = forecast.tokens_instead()
            bill = self.train(tokens)
        likely = bill
        if parent_tokens and not forecast.stopped and bill <= seconds * (1 + OVER):
            likely = seconds * math.exp(believed(math.log(bill / seconds), deviation))
        if abs(likely / seconds - 1) <= MARGIN:
            return bill
        short = short or (few, self._rehearsal(few))
        corrected = guess(seconds, (short, (tokens, likely)))
        again = self.train(corrected)
        # A bill has noise of its own: what both runs together say of the price of a token decides.
        return min(again, (bill + again) / (tokens + corrected) * corrected)

    def keep_to(self, budget: Budget, bill: float) -> None:
        """Refuse a run on tokens known before that took far longer than their budget: it does so on some seeds or
        lengths only, and no rehearsal saw it."""
        if budget.unit is Unit.SECONDS and self.pace and bill > budget.amount * (1 + FAR_OVER) + 1:
            raise Failed(
                TrialStatus.OVER_BUDGET, "train",
                f"It took {bill:.1f} s of a budget of {budget} on tokens that fitted before: its cost does not follow "
                "--max_tokens.",
            )  # fmt: skip

    def _rehearse(self, seconds: float, few: int) -> tuple[Point, int]:
        """A short run, and the tokens guessed from it and from the one before it.

        The first one repeats the smoke run, which was cold: a script's first run may cost twice what its second does.
        Where the next hardly costs more, a line through both says nothing, and a longer one follows, twice at most.
        """
        cheap = self._rehearsal(few)
        factor = min(64.0, max(2.0, self.limits.rehearsal_share * seconds / max(cheap, 1e-3)))
        for _ in range(3):
            tokens = int(few * factor)
            dear = self._rehearsal(tokens)
            points = (few, cheap), (tokens, dear)
            if dear > self.limits.rehearsal_rise * cheap or 2 * dear > seconds:
                break
            few, cheap, factor = tokens, dear, 4.0
        return points[1], guess(seconds, points)

    def _rehearsal(self, tokens: int) -> float:
        """The bill of a short run, in seconds."""
        most = self.limits.smoke_cpu_seconds
        report, slowdown = self._run("rehearsal", tokens, most)
        self.session.check("rehearsal", report, most)
        return self._seconds(report) / (slowdown or 1.0)

    def _run(
        self, phase: str, tokens: int, most: float, forecast: Forecast | None = None
    ) -> tuple[Report, float | None]:
        """Run the train command, and how slow the machine was meanwhile; None where that does not count."""
        pace = self.pace
        with pace.beside(self.core) if pace else nullcontext(list[float]()) as probes:

            def slowdown() -> float:
                return pace.slowdown(probes) if pace else 1.0

            def progress(done: float, spent: float) -> bool:
                return forecast is not None and forecast.stops(done, spent / slowdown())

            report = self.session.train(phase, self.data, self.seed, tokens, most, progress)
        return report, slowdown() if pace else None

    def _seconds(self, report: Report) -> float:
        return report.cpu_seconds if self.device == "cpu" else report.wall_seconds
