"""What a run is going to cost, from how far it says it is: a run that is far off its budget is stopped early."""

from __future__ import annotations

from dataclasses import dataclass

from darwin.sandbox.budget import Point, guess

SETTLED = 0.05
"""Share of its tokens or of its seconds from which a run's steps cost what they will: the first ones allocate and fill
caches. Forecasts from the first step on were 8 % too high."""

SURE = 0.2
"""Share of its tokens, or of its seconds without those to start up, from which a run's forecast counts: shorter
stretches of equal work cost amounts too different to tell."""

FAR = 0.2
"""Share of the budget by which the forecast has to miss it. A run that will end nearer goes on, and its bill decides
whether it is repeated. Both by simulation with the noise of bills here (a deviation of 2 to 4 %): with less, runs are
stopped for noise; with more, runs end that are repeated anyway."""


@dataclass
class Forecast:
    """Watches a run of ``tokens`` tokens that should take ``seconds`` billed ones, and says whether to stop it.

    ``first`` (once steps cost what they will) and ``last`` are points heard of. Their tokens are the script's own
    claim: who claims nothing, or nonsense, is not stopped; who claims too much or too little is trained on the wrong
    tokens, and once more when its bill says so.
    """

    tokens: int
    seconds: float
    first: Point | None = None
    last: Point | None = None
    stopped: bool = False

    def stops(self, done: float, spent: float) -> bool:
        """Take in that ``done`` tokens have taken ``spent`` billed seconds so far; whether to stop here."""
        if not 0 < done <= self.tokens:
            return False
        here = int(done), spent
        if self.first is None:
            if max(done / self.tokens, spent / self.seconds) >= SETTLED:
                self.first = here
        elif here[0] > self.first[0]:
            self.last = here
            if max(done / self.tokens, (spent - self.first[1]) / self.seconds) >= SURE:
                self.stopped = not 1 - FAR < self.whole() / self.seconds < 1 + FAR
        return self.stopped

    def whole(self) -> float:
        """Billed seconds of the whole run, by the line through both points."""
        assert self.first is not None and self.last is not None
        (few, cheap), (many, dear) = self.first, self.last
        return dear + (self.tokens - many) * (dear - cheap) / (many - few)

    def tokens_instead(self) -> int:
        """Tokens that the seconds buy, by the same line."""
        assert self.first is not None and self.last is not None
        return guess(self.seconds, (self.first, self.last))
