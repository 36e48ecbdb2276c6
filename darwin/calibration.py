"""Calibration: how often the verdict's rule is wrong, from resampled decisions over a stored pool of real runs.

Nothing is trained: the pool (``bench/pool.jsonl``, made by ``bench/pool.py``) holds losses of many small reseeded
copies of the base, and of edits and the base on the same seeds at the default budget. A resampled decision draws
losses from it and goes through ``verdicts.judge`` look by look, as a run does.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev, variance

from darwin import verdicts
from darwin.errors import UsageError
from darwin.memory.records import Outcome
from darwin.verdicts import LOOKS, Pair, Spread

POOL = Path(__file__).resolve().parent.parent / "bench" / "pool.jsonl"
BASE_SEEDS = 5  # as in generation 0
CHILDREN = 6  # of a generation, as by default
GENERATIONS = 5


@dataclass(frozen=True)
class Pool:
    """``copies``: losses of reseeded copies; ``base``: the base's at the default budget, and there ``edits``: name ->
    paired differences to it; nats per token."""

    copies: tuple[float, ...]
    base: tuple[float, ...]
    edits: dict[str, tuple[float, ...]]

    @classmethod
    def read(cls, path: Path) -> Pool:
        """Read a pool; raises ``UsageError`` if it is missing or too small to say anything."""
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise UsageError(
                f"The pool {path} cannot be read: {error}. Make one: python bench/pool.py copies > FILE"
            ) from error
        copies = tuple(line["loss"] for line in lines if line["kind"] == "copy")
        base = {line["seed"]: line["loss"] for line in lines if line["kind"] == "base"}
        edits: dict[str, list[float]] = {}
        for line in lines:
            if line["kind"] == "edit" and line["seed"] in base:
                edits.setdefault(line["name"], []).append(line["loss"] - base[line["seed"]])
        if len(copies) < 20 or len(base) < LOOKS[-1] or not edits:
            raise UsageError(
                f"The pool {path} has {len(copies)} copies and {len(base)} paired seeds; at least 20 and "
                f"{LOOKS[-1]} are needed: python bench/pool.py copies, and pairs."
            )
        return cls(copies, tuple(base.values()), {name: tuple(found) for name, found in edits.items()})

    @property
    def deviation(self) -> float:
        """Standard deviation of the base's loss at the default budget, from seed to seed."""
        return stdev(self.base)


@dataclass(frozen=True)
class Rate:
    """``hits`` of ``tries``, with the exact (Clopper-Pearson) 95 % interval."""

    hits: int
    tries: int

    @property
    def value(self) -> float:
        return self.hits / self.tries

    @property
    def interval(self) -> tuple[float, float]:
        from scipy.special import betaincinv  # a quarter of a second that no other command should pay

        low = float(betaincinv(self.hits, self.tries - self.hits + 1, 0.025)) if self.hits else 0.0
        high = (
            float(betaincinv(self.hits + 1, self.tries - self.hits, 0.975)) if self.hits < self.tries else 1.0
        )
        return low, high


def false_approvals(pool: Pool, decisions: int, seed: int) -> Rate:
    """Share of unedited copies that are approved when each meets the base as the first contender of a run.

    No lead is asked of them: this is the rule's error by itself, at its most generous.
    """
    rng, hits = random.Random(f"{seed}/false"), 0
    for _ in range(decisions):
        base = rng.choices(pool.copies, k=BASE_SEEDS + 1)
        mine = rng.choices(pool.copies, k=LOOKS[-1] + 1)
        hits += _decide(base, mine, 1) is Outcome.BETTER
    return Rate(hits, decisions)


def false_runs(pool: Pool, runs: int, seed: int) -> Rate:
    """Share of whole runs in which any unedited copy is approved: ``GENERATIONS`` times the best of all so far meets
    the base, if it leads by enough."""
    rng, hits = random.Random(f"{seed}/runs"), 0
    for _ in range(runs):
        base = rng.choices(pool.copies, k=BASE_SEEDS + 1)
        best, number, met = math.inf, 1, math.inf
        for _ in range(GENERATIONS):
            best = min([best, *rng.choices(pool.copies, k=CHILDREN)])
            if best == met:
                continue  # it has had its verdict
            mine = [best, *rng.choices(pool.copies, k=LOOKS[-1])]
            outcome = _decide(base, mine, number, lead=True)
            if outcome is not None:
                met, number = best, number + 1
            if outcome is Outcome.BETTER:
                hits += 1
                break
    return Rate(hits, runs)


def power(
    pool: Pool, effect: float, decisions: int, seed: int, scale: float = 1.0, lead: bool = True
) -> Rate:
    """Share of edits worth ``effect`` nats that are approved at the default budget.

    Their losses are the base's on the same seed plus a paired difference drawn from those of the pool's edit whose
    own effect is nearest, moved to the effect; ``scale`` multiplies all deviations (another machine or text has
    another noise). With ``lead``, the edit also has to lead on the seed that chooses it.
    """
    rng, hits = random.Random(f"{seed}/power"), 0
    centre, wider = fmean(pool.base), scale * _unbiased(pool.base)
    nearest = min(pool.edits.values(), key=lambda found: abs(fmean(found) - effect))
    around = [(d - fmean(nearest)) * scale * _unbiased(nearest) for d in nearest]
    for _ in range(decisions):
        base = [centre + wider * (x - centre) for x in rng.choices(pool.base, k=LOOKS[-1] + 1)]
        mine = [x + effect + rng.choice(around) for x in base]
        hits += _decide(base, mine, 1, lead=lead) is Outcome.BETTER
    return Rate(hits, decisions)


def _unbiased(values: Sequence[float]) -> float:
    """What deviations drawn from few values have to be multiplied by."""
    return math.sqrt(len(values) / (len(values) - 1))


def _decide(base: Sequence[float], mine: Sequence[float], number: int, lead: bool = False) -> Outcome | None:
    """One decision, as ``loop.meet`` takes it: losses on the selection seed first, then on the verdict seeds; None
    where it does not lead by enough to be met at all."""
    squares, df = 2 * variance(base[:BASE_SEEDS]) * (BASE_SEEDS - 1), BASE_SEEDS - 1
    if lead and mine[0] >= base[0] - verdicts.LEADS * verdicts.PAIRED * math.sqrt(squares / df):
        return None
    outcome = Outcome.UNDECIDED
    for look in LOOKS:
        pairs = [Pair(n, m, b) for n, (m, b) in enumerate(zip(mine[1:], base[1:], strict=False))][:look]
        own = variance(p.mine - p.theirs for p in pairs) * (look - 1) if look > 1 else 0.0
        known = Spread(math.sqrt((squares + own) / (df + look - 1)), df + look - 1)
        verdict = verdicts.judge("base", pairs, known, number)
        outcome = verdict.outcome
        if outcome is not Outcome.UNDECIDED or verdicts.hopeless(verdict):
            break
    return outcome
