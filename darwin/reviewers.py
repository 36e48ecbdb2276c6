"""Reviewers: who decides at the gate. One seam; the person at a terminal is ``desk.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from darwin.answers import Answer
from darwin.gate import NOBODY, Case
from darwin.memory.records import Choice, Outcome

DARWIN = "darwin <darwin@agents.invalid>"


class Reviewer(Protocol):
    """Whoever decides on a contender."""

    def review(self, case: Case) -> Answer:
        """Decide: merge, reject or defer, with a reason."""
        ...


class Auto:
    """Merges every contender that is proven better; what must not merge without a person waits for one."""

    def review(self, case: Case) -> Answer:
        for against in (*case.change.objections, *case.doubts):
            return Answer(choice=Choice.DEFER, by=NOBODY, reason=against)
        return Answer(choice=Choice.MERGE, by=DARWIN, reason="Approved by --approve auto.")


class Defer:
    """Leaves every decision open for a person: at the end of the run, or ``darwin review``."""

    def review(self, case: Case) -> Answer:
        return Answer(choice=Choice.DEFER, by=NOBODY)


@dataclass(frozen=True)
class Policy:
    """Merges what keeps to thresholds that a person set beforehand; leaves the rest to the person.

    ``least_gain``: of perplexity, in per cent, at the careful end of the interval; ``confidence``: of the verdict,
    between 0 and 1; ``most_added``: lines. Beyond them, the gain must have been tried at the larger budget and not fade
    there, and nothing in the change may be odd.
    """

    least_gain: float
    confidence: float
    most_added: int

    def review(self, case: Case) -> Answer:
        against = self.objection(case)
        if against:
            return Answer(choice=Choice.DEFER, by=NOBODY, reason=f"The policy leaves it to you: {against}.")
        words = f"gain of at least {self.least_gain:g} %, {self.confidence:g} sure, at most {self.most_added} lines"
        return Answer(
            choice=Choice.MERGE, by=DARWIN, reason=f"Approved by the policy of darwin.toml: {words}."
        )

    def objection(self, case: Case) -> str | None:
        """Why the policy does not merge it; None if it does."""
        verdict, larger = case.contender.verdict, case.contender.larger
        if verdict is None or verdict.outcome is not Outcome.BETTER or verdict.interval is None:
            return "it is not proven better"
        gain = -100 * verdict.interval[1]
        if gain < self.least_gain:
            return f"its gain is only sure to be {gain:.2f} %, less than least_gain = {self.least_gain:g}"
        if verdict.confidence < self.confidence:
            return f"its verdict is {verdict.confidence:.4f} sure, less than confidence = {self.confidence:g}"
        if case.change.added > self.most_added:
            return f"it adds {case.change.added} lines, more than most_added = {self.most_added}"
        if larger is None:
            return "it has not been tried at the larger budget"
        if larger.fades:
            return "its gain fades at the larger budget"
        odd = (*case.change.objections, *case.change.cautions, *case.doubts)
        return odd[0].rstrip(".") if odd else None
