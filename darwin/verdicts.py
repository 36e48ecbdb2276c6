"""Verdicts: whether a difference is more than luck. Pure functions over paired losses.

A contender meets the incumbent on fresh seeds, the same for both, and is looked at after 1, 2, 3 and 5 pairs. The
deviation of a paired difference is pooled over the run, the boundary is Student's t at its degrees of freedom, and
the error of 1 % per run is spent over verdicts (the n-th gets 6 / (pi n)^2 of it) and, within one, over its looks.
Whatever the number of generations, an evolution that finds nothing approves something in at most one run of a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from darwin.memory.records import Individual, Noise, Outcome, Run, Trial, TrialStatus, Verdict

LOOKS = (1, 2, 3, 5)
"""Pairs after which a verdict may fall."""

RUN_ERROR = 0.01
"""Chance of any false approval in a whole run, one-sided."""

SHARES = (0.05, 0.1, 0.15, 0.7)
"""How a verdict's error is spent over its looks: most on the last, where small effects are found; large ones do not
need it."""

OWN_SHARE = 0.9
"""Share of each look's error that the pairs' own deviation gets; the rest goes to the pooled one, for that reason."""

LEAST_EFFECT = 0.005
"""Minimum effect of interest, in nats: half a per cent of perplexity. Less is not worth a person's time."""

LEADS = 2.0
"""Deviations of a same-seed difference by which a contender has to lead on the seed that chose it."""

PAIRED = 0.35
"""Share of the deviation of unpaired differences that is left between an edit and the base on the same seed: an
admitted guess, for the two edits in bench/pool.jsonl have 0.37 and 0.52. It only says whom to meet; no verdict rests on
it."""

SURE_DF = 20
"""Degrees of freedom from which one or two pairs may be enough; before, an approval takes three."""

OWN_PAIRS = 3
"""Pairs from which their own deviation alone may decide."""

EQUAL = 0.05
"""Share by which the bill of who is ahead may exceed the other's; beyond, it is charged ``DOUBTED`` times."""

DOUBTED = 3
"""How many times what longer training is worth to the base, it is taken to be worth to who had much more of it."""

CONFIDENCE = 0.98
"""Of the two-sided intervals of the closing comparison."""


@dataclass(frozen=True)
class Spread:
    """How much a figure varies by luck, most often a paired difference in nats: ``deviation``, with ``df`` degrees of
    freedom."""

    deviation: float
    df: int


@dataclass(frozen=True)
class Pair:
    """Both losses on one seed, in nats per token, and both bills in seconds (None under a token budget)."""

    seed: int
    mine: float
    theirs: float
    bills: tuple[float, float] | None = None


def contender(run: Run, individuals: Mapping[str, Individual]) -> Individual | None:
    """The one individual worth a verdict now, if there is one.

    The best of the population, where it leads incumbent and champion by more than ``LEADS`` deviations on the seed
    that all were first measured on. A verdict that was left open for want of trials goes on.
    """
    best = min((individuals[i] for i in run.population.values()), key=lambda i: i.rank)
    if best.loss is None:
        return None
    if best.verdict is not None and best.verdict.against == run.incumbent and not is_open(best.verdict):
        return None
    rivals = {run.incumbent, run.champion or run.incumbent}
    needed = lead(run, individuals)
    return best if all(best.rank[0] < individuals[r].rank[0] - needed for r in rivals) else None


def lead(run: Run, individuals: Mapping[str, Individual]) -> float:
    """``LEADS`` deviations of a same-seed difference, in nats: less may be luck."""
    return LEADS * PAIRED * spread(run, individuals).deviation


def is_open(verdict: Verdict) -> bool:
    """Whether a verdict may still change: undecided, with looks left."""
    return verdict.outcome is Outcome.UNDECIDED and len(verdict.seeds) < LOOKS[-1]


def affordable(run: Run, individuals: Mapping[str, Individual], mine: Individual) -> int:
    """Pairs up to which a verdict may go: all verdicts of a run get a quarter as many as it had children, and two more.

    It follows from recorded verdicts alone, so that a run that was killed goes on as it would have.
    """
    spent = sum(len(i.verdict.seeds) for i in individuals.values() if i.verdict and i.id != mine.id)
    return max(0, 2 + run.settled // 4 - spent)


def least_pairs(df: int) -> int:
    """Pairs that an approval takes at so many degrees of freedom."""
    return 1 if df >= SURE_DF else 3


def find(trials: Sequence[Trial], seed: int, split: str, budget: str) -> Trial | None:
    """The individual's trial of that seed, split and budget, if it was run."""
    found = [t for t in trials if (t.seed, t.split, t.budget) == (seed, split, budget)]
    return found[0] if found else None


def noise(trials: Iterable[Trial], per_log_time: float) -> Noise:
    """What luck alone does, from the base's trials (at least two) on different seeds."""
    known = {t.seed: t.loss for t in trials if t.loss is not None}
    return Noise(
        seeds=tuple(known), deviation=stdev(known.values()), df=len(known) - 1, per_log_time=per_log_time
    )


def spread(
    run: Run,
    individuals: Mapping[str, Individual],
    mine: Individual | None = None,
    pairs: Sequence[Pair] = (),
) -> Spread:
    """The deviation of a paired difference, pooled over all paired differences of the run.

    The base's own seeds count as if they did not pair (twice its variance): no less than any honest pair has, and
    exactly what an unedited, reseeded copy has. Each individual that met an incumbent adds its differences' variance;
    ``mine`` is meeting one now, in ``pairs``.
    """
    squares, df = 0.0, 0
    if run.noise is not None:
        squares, df = 2 * run.noise.deviation**2 * run.noise.df, run.noise.df
    met = [
        paired(i, individuals[i.verdict.against], i.verdict.seeds, "val", run.budget)
        for i in individuals.values()
        if i.verdict is not None and (mine is None or i.id != mine.id)
    ]
    return pooled(([p.mine - p.theirs for p in group] for group in (*met, pairs)), squares, df)


def pooled(groups: Iterable[Sequence[float]], squares: float = 0.0, df: int = 0) -> Spread:
    """The deviation within groups, about the mean of each; ``squares`` are those of further groups, with ``df``."""
    for group in groups:
        if len(group) > 1:
            squares += variance(group) * (len(group) - 1)
            df += len(group) - 1
    return Spread(math.sqrt(squares / df) if df else math.inf, df)


def paired(mine: Individual, theirs: Individual, seeds: Sequence[int], split: str, budget: str) -> list[Pair]:
    """The pairs that both have trials with a loss for, under the same conditions, in the order of ``seeds``."""
    found = []
    for seed in seeds:
        both = [find(i.trials, seed, split, budget) for i in (mine, theirs)]
        two = [t for t in both if t is not None and t.status is TrialStatus.OK and t.loss is not None]
        if len(two) < 2 or not two[0].under(two[1].conditions):
            continue
        losses = [t.loss for t in two if t.loss is not None]
        seconds = [t.seconds for t in two if t.slowdown is not None and t.seconds]
        found.append(
            Pair(seed, losses[0], losses[1], (seconds[0], seconds[1]) if len(seconds) == 2 else None)
        )
    return found


def advantage(pairs: Sequence[Pair]) -> float:
    """Log of the mean bill of mine over that of theirs: how much more training time I had; 0 without bills."""
    bills = [p.bills for p in pairs if p.bills is not None]
    return math.log(fmean(b[0] for b in bills) / fmean(b[1] for b in bills)) if bills else 0.0


def interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Student's t interval of the mean of paired differences; None for fewer than two."""
    if len(differences) < 2:
        return None
    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    reach = _quantile(len(differences) - 1, 0.5 + confidence / 2) * error
    return mean - reach, mean + reach


def pooled_interval(
    differences: Sequence[float], known: Spread, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """The same with the run's pooled deviation, or the differences' own where that is larger; None for none."""
    if not differences or not known.df:
        return interval(differences, confidence)
    mean = fmean(differences)
    deviation = max(known.deviation, stdev(differences) if len(differences) > 1 else 0.0)
    reach = _quantile(known.df, 0.5 + confidence / 2) * deviation / math.sqrt(len(differences))
    return mean - reach, mean + reach


def _quantile(df: int, probability: float) -> float:
    """Student's t below which ``probability`` lies."""
    from scipy.special import stdtrit  # a tenth of a second that most commands never need

    return float(stdtrit(df, probability))


def boundary(look: int, number: int, df: int, share: float = 1.0) -> float:
    """Standard errors that a mean difference has to clear at a look (0, 1, ...) of the run's ``number``-th verdict, by
    a bound that gets ``share`` of its error."""
    return _quantile(df, 1 - error_at(look, number) * share)


def error_at(look: int, number: int) -> float:
    """The error that a look of the ``number``-th verdict may spend; over all looks and verdicts: ``RUN_ERROR``."""
    return RUN_ERROR * 6 / (math.pi * number) ** 2 * SHARES[look]


def reach(pairs: Sequence[Pair], known: Spread, look: int, number: int) -> float:
    """How far from 0 the mean difference must lie to be more than luck, in nats: the smaller of two bounds, which
    share the look's error.

    One rests on the run's pooled deviation (or the pairs' own, where that is larger): large effects are found after few
    pairs. The other on the pairs' own deviation alone, with its own few degrees of freedom: it needs more pairs, and
    finds a small effect of an edit that pairs well, whose differences vary far less than the run's.
    """
    count = len(pairs)
    own = stdev(p.mine - p.theirs for p in pairs) if count > 1 else 0.0
    bounds = []
    if known.df and count >= least_pairs(known.df):
        bounds.append(boundary(look, number, known.df, 1 - OWN_SHARE) * max(known.deviation, own))
    if count >= OWN_PAIRS:
        bounds.append(boundary(look, number, count - 1, OWN_SHARE) * own)
    return min(bounds, default=math.inf) / math.sqrt(count)


def judge(
    against: str, pairs: Sequence[Pair], known: Spread, number: int = 1, per_log_time: float = 0.0
) -> Verdict:
    """The verdict after ``len(pairs)`` pairs (a look, else what the last look allows).

    ``worse`` and ``better`` need the mean difference, charged ``per_log_time`` nats for each e-fold of longer
    training, to be out of reach of luck, also where a winner that trained for longer by more than ``EQUAL`` is
    charged ``DOUBTED`` times as much; ``better`` also needs at least ``LEAST_EFFECT``.
    """
    look = max((n for n, count in enumerate(LOOKS) if count <= len(pairs)), default=0)
    time = advantage(pairs)
    effect = fmean(p.mine - p.theirs for p in pairs) + per_log_time * time
    luck = reach(pairs, known, look, number)
    low, high = effect - luck, effect + luck
    outcome, note = Outcome.UNDECIDED, None
    if math.isinf(luck):
        note = f"noise is known with {known.df} degrees of freedom only: three pairs are needed"
    elif high < 0 and effect > -LEAST_EFFECT:
        note = f"the effect is below the {LEAST_EFFECT:.1%} that would matter"
    elif low > 0 or high < 0:
        outcome = Outcome.WORSE if low > 0 else Outcome.BETTER
        helped = time if high < 0 else -time  # how much longer the winner trained
        explained = (DOUBTED - 1) * per_log_time * helped if per_log_time else math.inf
        if math.expm1(helped) > EQUAL and min(abs(low), abs(high)) <= explained:
            outcome = Outcome.UNDECIDED
            note = f"bills differ by {math.expm1(time):+.1%}: the one ahead trained for longer"
    return Verdict(
        against=against,
        outcome=outcome,
        effect=effect,
        interval=None if math.isinf(luck) else (low, high),
        confidence=1 - 2 * error_at(look, number),
        seeds=tuple(p.seed for p in pairs),
        deviation=known.deviation,
        df=known.df,
        number=number,
        note=note,
    )


def hopeless(verdict: Verdict) -> bool:
    """Whether further pairs are wasted: no effect of interest is left within the interval."""
    return (
        verdict.outcome is Outcome.UNDECIDED
        and verdict.interval is not None
        and verdict.interval[0] > -LEAST_EFFECT
    )
