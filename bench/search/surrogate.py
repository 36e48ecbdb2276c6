"""The surrogate: what a script with these techniques and settings would lose, fitted to the sets of measure.py.

A set's gain over the base is ``ceiling * (1 - exp(-s / ceiling))`` of a sum ``s`` of what each technique, each
setting (slope and curvature on a scale of doublings) and each pair of techniques does: ridge regression, its strengths
chosen by
leave-one-out error. At the long horizon each effect starts from what the knowledge base measured there, else from the
share of the short one that is left on average, and is moved by the sets that were trained six times as long. What pairs
do not explain is put back as three-way terms of the size of the held-out error, so that no search can be certain.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from darwin.agents.knowledge import techniques
from darwin.memory.effects import distance

SETS = Path(__file__).with_name("sets.jsonl")
HELD_OUT = 50
"""Sets, the last ones, that the error is told on; the surrogate that is used is fitted to them as well."""

CEILINGS = (0.6, 0.8, 1.2, 2.0)
"""Nats that all ideas together could gain, of which leave-one-out error chooses one."""

PAIRS = (0.003, 0.01, 0.02, 0.04)
"""Standard deviations of a pair's term, likewise."""

ALONE, SLOPE, BEND, LUCK = 0.15, 0.05, 0.03, 0.008
"""Standard deviations of a technique's effect, of a setting's slope and curvature, and of a measurement."""

LONG_DOUBT = 0.5
"""Share of an effect by which its value at the long horizon may differ from where it starts."""

WORST = 0.7
"""Nats above the base at which a loss is cut: whoever loses more has lost."""

SEED_SD, OWN_SD = {1: 0.0045, 6: 0.009}, {1: 0.0025, 6: 0.005}
"""Luck by times the budget, in nats: of a seed, the same for all scripts, and of a script on a seed (facts: the spread
over seeds is 0.0045 to 0.011 at these lengths, that of same-seed differences about a third)."""

Features = Mapping[str, float]


def features_of(line: Mapping[str, Any]) -> dict[str, float]:
    """What a measured set has, in the model's words."""
    found = {f"technique:{technique}": 1.0 for technique in line["techniques"]}
    return found | {f"setting:{name}": distance(name, *pair) for name, pair in line["settings"].items()}


def columns(has: Features) -> dict[tuple[str, ...], float]:
    """The terms of a script's sum, by name."""
    row: dict[tuple[str, ...], float] = {}
    present = sorted(i for i, amount in has.items() if i.startswith("technique:") and amount > 0)
    for idea, amount in has.items():
        if idea.startswith("setting:"):
            row[(idea, "slope")], row[(idea, "bend")] = amount, amount**2
    row |= {(idea,): 1.0 for idea in present}
    return row | dict.fromkeys(itertools.combinations(present, 2), 1.0)


def _is_pair(column: tuple[str, ...]) -> bool:
    return len(column) == 2 and column[1].startswith("technique:")


def _deviation(column: tuple[str, ...], pair: float) -> float:
    if len(column) == 1:
        return ALONE
    return pair if _is_pair(column) else SLOPE if column[1] == "slope" else BEND


def stretched(gain: float, ceiling: float) -> float:
    """The sum ``s`` behind a gain; losses stand for themselves."""
    return -ceiling * math.log(1 - min(gain, 0.99 * ceiling) / ceiling) if gain > 0 else gain


def squeezed(s: float, ceiling: float) -> float:
    """The gain of a sum ``s``."""
    return ceiling * (1 - math.exp(-s / ceiling)) if s > 0 else s


@dataclass
class Linear:
    """Ridge regression over named columns, around given means."""

    ceiling: float
    pair: float
    weights: dict[tuple[str, ...], float] = field(default_factory=dict)
    loo: float = math.inf

    def fit(
        self,
        rows: Sequence[Features],
        gains: Sequence[float],
        means: Mapping[tuple[str, ...], float] | None = None,
        doubt: float | None = None,
    ) -> Linear:
        """Fit to gains (nats over the base); remembers the leave-one-out error (root mean square, of gains)."""
        means = means or {}
        if not rows:
            self.weights = dict(means)
            return self
        designs = [columns(row) for row in rows]
        names = list(dict.fromkeys([*(c for row in designs for c in row), *means]))
        index = {name: n for n, name in enumerate(names)}
        x = np.zeros((len(rows), len(names)))
        for n, row in enumerate(designs):
            for name, value in row.items():
                x[n, index[name]] = value
        center = np.array([means.get(name, 0.0) for name in names])
        deviations = np.array([_deviation(name, self.pair) for name in names])
        if doubt is not None:
            deviations = np.maximum(0.01, doubt * np.abs(center))
        y = np.array([stretched(gain, self.ceiling) for gain in gains])
        gram = x * deviations**2 @ x.T + LUCK**2 * np.eye(len(rows))
        inverse = np.linalg.inv(gram)
        residual = y - x @ center
        weights = center + deviations**2 * (x.T @ (inverse @ residual))
        left_out = y - (inverse @ residual) / np.diag(inverse)
        errors = [squeezed(s, self.ceiling) - gain for s, gain in zip(left_out, gains, strict=True)]
        self.loo = math.sqrt(float(np.mean(np.square(errors))))
        self.weights = dict(zip(names, weights.tolist(), strict=True))
        return self

    def gain(self, has: Features) -> float:
        """Nats over the base; negative where it is worse."""
        s = sum(self.weights.get(name, 0.0) * value for name, value in columns(has).items())
        return max(-WORST, squeezed(s, self.ceiling))


def best_fit(rows: Sequence[Features], gains: Sequence[float]) -> Linear:
    """The fit of the ceiling and pair strength with the least leave-one-out error."""
    fits = [Linear(c, p).fit(rows, gains) for c in CEILINGS if max(gains) < 0.97 * c for p in PAIRS]
    return min(fits, key=lambda one: one.loo)


@dataclass
class Surrogate:
    """Losses of scripts at two horizons; ``error`` is the held-out root mean square error in nats (None: too few sets),
    ``pairs`` (measured, foretold) gains of the held-out sets."""

    base: dict[int, float]
    short: Linear
    long: Linear
    fade: float
    error: float | None
    held_out: list[tuple[float, float]]
    planted: dict[str, tuple[float, float]] = field(default_factory=dict)

    def gain(self, has: Features, times: int) -> float:
        """True nats over the base, without luck."""
        model = self.short if times == 1 else self.long
        found = model.gain(has) + self._unexplained(has) * (1.0 if times == 1 else self.fade)
        extra = sum(gains[times != 1] for idea, gains in self.planted.items() if has.get(idea, 0.0) > 0)
        return found + extra

    def loss(self, has: Features, times: int, seed: int, genome: str) -> float:
        """What a trial measures."""
        common = random.Random(f"seed {seed} {times}").gauss(0, SEED_SD[times])
        own = random.Random(f"own {genome} {seed} {times}").gauss(0, OWN_SD[times])
        return self.base[times] - self.gain(has, times) + common + own

    def _unexplained(self, has: Features) -> float:
        present = sorted(i for i, amount in has.items() if i.startswith("technique:") and amount > 0)
        if len(present) < 3 or not self.error:
            return 0.0
        terms = [_normal(three) for three in itertools.combinations(present, 3)]
        return self.error * sum(terms) / math.sqrt(len(terms))


_NORMALS: dict[tuple[str, ...], float] = {}


def _normal(names: tuple[str, ...]) -> float:
    if names not in _NORMALS:
        _NORMALS[names] = random.Random("/".join(names)).gauss(0, 1)
    return _NORMALS[names]


def read(path: Path = SETS) -> list[dict[str, Any]]:
    """The measured lines that came to a loss."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["loss"] is not None]


def fit(lines: Iterable[Mapping[str, Any]], held_out: int = HELD_OUT) -> Surrogate:
    """The surrogate of measured lines; the first of each horizon and seed with no techniques is the base."""
    lines = list(lines)
    base = {
        (line["horizon"], line["seed"]): line["loss"]
        for line in lines
        if not line["techniques"] and not line["settings"]
    }
    sets = [line for line in lines if line["techniques"] or line["settings"]]

    def of(horizon: str, chosen: Iterable[Mapping[str, Any]]) -> tuple[list[Features], list[float]]:
        known = [x for x in chosen if x["horizon"] == horizon and x["seed"] == 1]
        return [features_of(x) for x in known], [max(-WORST, base[horizon, 1] - x["loss"]) for x in known]

    rows, gains = of("short", sets)
    error, pairs = None, []
    if len(rows) > 2 * held_out:
        without = best_fit(rows[:-held_out], gains[:-held_out])
        pairs = [
            (gain, without.gain(row)) for row, gain in zip(rows[-held_out:], gains[-held_out:], strict=True)
        ]
        error = math.sqrt(sum((a - b) ** 2 for a, b in pairs) / held_out)
    short = best_fit(rows, gains)
    long_rows, long_gains = of("long", sets)
    above = [(short.gain(row), gain) for row, gain in zip(long_rows, long_gains, strict=True)]
    squares = sum(s * s for s, _ in above)
    fade = min(1.0, max(0.1, sum(s * g for s, g in above) / squares)) if squares else 0.5
    means = {name: fade * weight for name, weight in short.weights.items()}
    for technique in techniques():
        if technique.long is not None:
            means[(f"technique:{technique.id}",)] = -technique.long.mean
    long = Linear(max(short.ceiling, 1.2), short.pair).fit(long_rows, long_gains, means, LONG_DOUBT)
    return Surrogate(
        base={1: base["short", 1], 6: base["long", 1]},
        short=short,
        long=long,
        fade=fade,
        error=error,
        held_out=pairs,
    )
