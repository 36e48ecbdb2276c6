"""What ideas do: a small Bayesian linear model of log perplexity and MFU over all trials of a run.

An idea is a technique or a change of a setting. What is modelled is the difference between two scripts on the same
seeds, so that everything they share cancels. Each technique has an effect at the run's budget and one at six times it
(the long horizon), correlated; each setting a slope and a curvature on a scale of doublings; two techniques in one
script a term for how they get on. Effects are those on the base: on a script that is ahead of the base by ``gain`` nats
they count ``exp(-gain / REACH)`` of it, since there is less left to win. The prior is the knowledge base.

Units: effects in nats per token (differences of log perplexity, negative is better), on MFU as differences of its log.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from darwin.memory.posterior import Belief, Entries, Group, Matrix, Posterior, Row, Table
from darwin.memory.records import Individual, Status, Trial, TrialStatus

LONG = 6.0
"""How many times the run's tokens the long horizon is."""

FADE = 0.5
"""Share of a short effect that is expected at the long horizon where nothing is known about it."""

REACH = 1.0
"""Nats of gain over the base after which an effect counts e times less."""

MISFIT, LUCK = 0.012, 0.005
"""Standard deviations, in nats: of what an effect is worth from script to script, and of one same-seed difference."""

CLASH = 0.4
"""Standard deviation of a pair's term, as a share of the smaller of the two effects."""

SLOPE_SD = (0.02, 0.015)
"""Standard deviation of what a doubling of a setting does, at both horizons; its mean is 0."""

BEND = (0.008, 0.006)
"""How much of that a setting loses with the square of its distance from the base's, at both horizons: mean, and
standard deviation too."""

FEW = 2
"""Ideas in a difference up to which it counts as being about each of them."""

MOST_PAIRS = 120
"""Pairs of techniques that have a term of their own: those that were seen together most."""

MFU_LUCK = 0.03
"""Standard deviation of a difference of two logs of MFU."""

Change = Mapping[str, float]
"""Idea -> how much: ``technique:<id>`` 1 (or -1: taken out), ``setting:<name>`` doublings."""


@dataclass(frozen=True)
class Prior:
    """What was known of a technique before this run, as (mean, standard deviation); None is unknown."""

    short: tuple[float, float] | None
    long: tuple[float, float] | None
    mfu: tuple[float, float] | None = None


@dataclass(frozen=True)
class Estimate:
    """The effect of a change: means and standard deviations at the run's budget and at the long horizon, and on MFU."""

    short: float
    short_sd: float
    long: float
    long_sd: float
    mfu: float
    mfu_sd: float


@dataclass(frozen=True)
class Observation:
    """A measured difference between a script and the one it came from, at a horizon (0: the run's budget, 1: long)."""

    individual: str
    change: Change
    had: Change
    gain: float
    horizon: float
    difference: float
    seeds: int
    mfu: float | None = None  # difference of its log

    @cached_property
    def entries(self) -> Entries:
        """The columns of the model that it is about."""
        return Entries.of(_row(self.change, self.had, self.gain, self.horizon))

    @cached_property
    def others(self) -> dict[str, Entries]:
        """For each of its ideas, the columns of the others; empty where it has one alone."""
        if len(self.change) < 2:
            return {}
        rest = {idea: {i: a for i, a in self.change.items() if i != idea} for idea in self.change}
        return {
            idea: Entries.of(_row(change, self.had, self.gain, self.horizon)) for idea, change in rest.items()
        }

    @cached_property
    def mfu_entries(self) -> Entries:
        """The columns of the model of MFU that it is about."""
        return Entries.of(_mfu_row(self.change))


def distance(name: str, old: Any, new: Any) -> float:
    """Doublings from one value of a setting to another; of the distance to 1 for memories such as beta1."""
    try:
        old, new = float(old), float(new)
    except (TypeError, ValueError):
        return 0.0
    if ("beta" in name or "momentum" in name) and 0 <= old < 1 and 0 <= new < 1:
        old, new = 1 / (1 - old), 1 / (1 - new)
    if old * new > 0:
        return math.log2(new / old)
    return float(np.sign(new - old))


def change_by(techniques: Iterable[str], settings: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
    """The change that techniques (ids) and settings (name -> old and new value) make to a script."""
    found = {f"technique:{technique}": 1.0 for technique in techniques}
    return found | {f"setting:{name}": distance(name, old, new) for name, (old, new) in settings.items()}


def change_of(individual: Individual) -> dict[str, float]:
    """What an individual changed in its (first) parent's script."""
    added = change_by(individual.techniques, individual.settings)
    return added | dict.fromkeys(individual.without, -1.0)


def features(
    individuals: Iterable[Individual], known: dict[str, dict[str, float]] | None = None
) -> dict[str, dict[str, float]]:
    """What is in each individual's script that the base has not, by id; ``individuals`` parents first.

    Those of ``known`` are taken as they are, and the others are added to it.
    """
    found = {} if known is None else known
    for individual in individuals:
        if individual.id in found:
            continue
        has = dict(found.get(individual.parents[0], {})) if individual.parents else {}
        for idea, amount in change_of(individual).items():
            has[idea] = has.get(idea, 0.0) + amount
        found[individual.id] = {idea: amount for idea, amount in has.items() if abs(amount) > 1e-9}
    return found


Observed = dict[str, tuple[float | None, tuple[Individual, ...], list[Observation]]]
"""Observations by individual, with what they were made from: the base's first loss, and the records."""


def observations(
    individuals: Mapping[str, Individual],
    known: Observed | None = None,
    has: Mapping[str, Change] | None = None,
) -> list[Observation]:
    """Every difference that was measured: to the parent on shared seeds, else to the base, by budget.

    ``known`` keeps those that were made from what is still the same; ``has`` is ``features`` of these individuals,
    where it is at hand.
    """
    known = {} if known is None else known
    has = has or features(individuals.values())
    base = next(iter(individuals.values()), None)
    found = []
    for individual in individuals.values():
        parent = individuals.get(individual.parents[0]) if individual.parents else None
        if base is None or parent is None or individual.status is not Status.TRAINED:
            continue
        records, earlier = (individual, parent, base), known.get(individual.id)
        if earlier is None or earlier[0] != base.loss or any(map(operator.is_not, earlier[1], records)):
            earlier = known[individual.id] = base.loss, *_observations(*records, has)
        found += earlier[2]
    return found


def _observations(
    individual: Individual, parent: Individual, base: Individual, has: Mapping[str, Change]
) -> tuple[tuple[Individual, ...], list[Observation]]:
    """One for each budget, against the parent or else the base; and the records they were made from: the base, whom
    every verdict gives more trials, only where these count."""
    found, needs_base = [], base.loss is None or parent.loss is None or not parent.trials
    for budget in dict.fromkeys(t.budget for t in individual.all_trials):
        one = _observation(individual, parent, base, budget, has)
        if one is None:
            needs_base = True
            one = _observation(individual, base, base, budget, has)
        if one is not None:
            found.append(one)
    return ((individual, parent, base) if needs_base else (individual, parent)), found


def _observation(
    mine: Individual, theirs: Individual, base: Individual, budget: str, has: Mapping[str, Change]
) -> Observation | None:
    a, b = (_by_seed(i, budget) for i in (mine, theirs))
    seeds = [seed for seed in a if seed in b]
    if not seeds:
        return None
    pairs = [(a[s], b[s]) for s in seeds]
    usual = (theirs.trials or base.trials or theirs.all_trials)[0].tokens
    ratio = b[seeds[0]].tokens / max(1, usual)
    before, after = has[theirs.id], has[mine.id]
    moved = {i: after.get(i, 0.0) - before.get(i, 0.0) for i in (*before, *after)}
    gain = _gain(base, theirs, budget)
    mfus = [math.log(x.mfu / y.mfu) for x, y in pairs if x.mfu and y.mfu]
    return Observation(
        individual=mine.id,
        change={i: amount for i, amount in moved.items() if abs(amount) > 1e-9},
        had=before,
        gain=gain,
        horizon=min(1.5, max(-0.5, math.log(max(ratio, 0.1)) / math.log(LONG))),
        difference=sum((x.loss or 0.0) - (y.loss or 0.0) for x, y in pairs) / len(pairs),
        seeds=len(pairs),
        mfu=sum(mfus) / len(mfus) if mfus else None,
    )


def _gain(base: Individual, theirs: Individual, budget: str) -> float:
    """Nats that a script is ahead of the base: on the first seed of now, else on those of an earlier budget."""
    if (
        base.loss is not None
        and theirs.loss is not None
        and base.trials[0].under(theirs.trials[0].conditions)
    ):
        return base.loss - theirs.loss
    a, b = (_by_seed(i, budget) for i in (base, theirs))
    leads = [(a[s].loss or 0.0) - (b[s].loss or 0.0) for s in a if s in b]
    return sum(leads) / len(leads) if leads else 0.0


def _by_seed(individual: Individual, budget: str) -> dict[tuple[int, str | None], Trial]:
    """By seed and conditions: pairs are of equal ones, though one of the two was trained anew under others."""
    return {
        (t.seed, t.conditions): t
        for t in (*individual.superseded, *individual.all_trials)
        if t.split == "val" and t.budget == budget and t.status is TrialStatus.OK and t.loss is not None
    }


Groups = dict[Group, Belief]
"""What is believed of the weights of each group of columns beforehand."""


def _remembered(prior: Callable[[Group], Belief], groups: Groups) -> Callable[[Group], Belief]:
    def of(group: Group) -> Belief:
        if group not in groups:
            groups[group] = prior(group)
        return groups[group]

    return of


class Effects:
    """The posterior: what every idea is expected to do, from a prior and a run's observations."""

    def __init__(
        self, priors: Mapping[str, Prior], observed: Sequence[Observation] = (), groups: Groups | None = None
    ) -> None:
        """``groups`` keeps what follows from ``priors`` alone, for the next model of the same run."""
        self._priors = priors
        groups = {} if groups is None else groups
        self._believed: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {}
        self.observed = tuple(observed)
        self._loss = Posterior(
            Table.of([o.entries for o in observed]).with_common("pair", MOST_PAIRS),
            [o.difference for o in observed],
            [MISFIT**2 + LUCK**2 / o.seeds for o in observed],
            _remembered(self._prior_of, groups),
        )
        timed = [o for o in observed if o.mfu is not None and o.horizon == 0]
        self._mfu = Posterior(
            Table.of([o.mfu_entries for o in timed]),
            [o.mfu or 0.0 for o in timed],
            [MFU_LUCK**2] * len(timed),
            _remembered(self._mfu_prior, groups),
        )

    def of(self, change: Change, had: Change | None = None, gain: float = 0.0) -> Estimate:
        """What a change does to a script that has ``had`` and is ``gain`` nats ahead of the base."""
        short = self._loss.at(_row(change, had or {}, gain, 0.0))
        long = self._loss.at(_row(change, had or {}, gain, 1.0))
        return Estimate(*short, *long, *self._mfu.at(_mfu_row(change)))

    def seen_long(self, idea: str) -> bool:
        """Whether anything is known of an idea at the long horizon: from the knowledge, or from a long trial that was
        about it and not much else."""
        prior = self._priors.get(idea)
        if prior is not None and prior.long is not None:
            return True
        return any(o.horizon > 0.5 and idea in o.change and len(o.change) <= FEW for o in self.observed)

    def expected_of_others(self) -> list[float]:
        """For each observation in turn and each of its ideas: what its other ideas are expected to have done."""
        rows = [row for seen in self.observed for row in seen.others.values()]
        means = iter(self._loss.means(Table.of(rows)).tolist())
        return [next(means) if len(seen.change) > 1 else 0.0 for seen in self.observed for _ in seen.change]

    def _prior_of(self, group: Group) -> Belief:
        """What is believed of the weights of one group of columns."""
        kind = group[0]
        if kind == "pair":
            sizes = [abs(self._technique(t)[0][0]) for t in group[1:]]
            return Belief(np.zeros(1), np.array([[(CLASH * min(sizes) + 0.003) ** 2]]))
        if kind == "setting":
            slope, bend = _horizons(*SLOPE_SD), _horizons(*BEND)
            none = np.zeros((2, 2))
            return Belief(np.array([0.0, 0.0, *BEND]), np.block([[slope, none], [none, bend]]))
        (short, short_sd), (long, long_sd) = self._technique(group[1])
        return Belief(np.array([short, long]), _horizons(short_sd, long_sd))

    def _technique(self, idea: str) -> tuple[tuple[float, float], tuple[float, float]]:
        """Effect at both horizons, (mean, standard deviation), widened for what another corpus and script do to it."""
        if idea not in self._believed:
            prior = self._priors.get(idea, Prior(None, None))
            short = prior.short or (0.0, 0.06)
            long = prior.long or (FADE * short[0], max(0.02, FADE * abs(short[0])))
            self._believed[idea] = _wider(short), _wider(long)
        return self._believed[idea]

    def _mfu_prior(self, group: Group) -> Belief:
        known = self._priors.get(group[1], Prior(None, None)).mfu or (0.0, 0.05)
        return Belief(np.array([known[0]]), np.array([[known[1] ** 2 + 0.02**2]]))


def _row(change: Change, had: Change, gain: float, horizon: float) -> Row:
    """The columns of a change: technique and setting effects at the horizon, and pairs that are formed or parted."""
    scale = math.exp(-max(gain, 0.0) / REACH)
    near, far = scale * (1 - horizon), scale * horizon
    row: dict[Any, float] = {}
    for idea, amount in change.items():
        if idea.startswith("setting:"):
            before = had.get(idea, 0.0)
            for name, size in (("slope", amount), ("bend", (before + amount) ** 2 - before**2)):
                row[(("setting", idea), name, "near")] = size * near
                row[(("setting", idea), name, "far")] = size * far
        else:
            row[(("technique", idea), "near")] = amount * near
            row[(("technique", idea), "far")] = amount * far
    together = near + far * FADE
    after = {i: had.get(i, 0.0) + change.get(i, 0.0) for i in (*had, *change)}
    moved = [i for i in change if not i.startswith("setting:")]
    others = [i for i in after if not i.startswith("setting:")]
    for one in moved:
        for two in others:
            if one == two or (two in change and two < one):
                continue
            formed = after[one] * after[two] - had.get(one, 0.0) * had.get(two, 0.0)
            if formed:
                row[_pair(one, two)] = formed * together
    return row


@cache  # one object for all rows: a long run has thousands of them
def _pair(one: str, two: str) -> tuple[tuple[str, ...], str]:
    """The column of two techniques together."""
    return ("pair", *sorted((one, two))), "z"


def _mfu_row(change: Change) -> Row:
    return {(("mfu", idea), "z"): amount for idea, amount in change.items()}


def _horizons(short_sd: float, long_sd: float, correlation: float = 0.7) -> Matrix:
    shared = correlation * short_sd * long_sd
    return np.array([[short_sd**2, shared], [shared, long_sd**2]])


def _wider(known: tuple[float, float]) -> tuple[float, float]:
    mean, deviation = known
    return mean, math.sqrt(deviation**2 + 0.01**2 + (0.25 * mean) ** 2)
