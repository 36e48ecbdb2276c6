"""A linear model's weights: Gaussian, from a prior on groups of columns and weighted rows.

A run asks for them anew after every batch, with thousands of rows of which few are new. So a row becomes numbers once
(``Entries``), and what is done with all rows is numpy's. Nothing is carried over from one model to the next: sums go
over all rows in their order, so that a run which was killed and goes on finds the same weights to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Numbers = NDArray[np.int64]
Group = tuple[str, ...]
Column = tuple[Any, ...]
"""The group that a column belongs to, and what it is called there."""
Row = Mapping[Column, float]

CALLED = {
    1: (("z",),),
    2: (("near",), ("far",)),
    4: (("slope", "near"), ("slope", "far"), ("bend", "near"), ("bend", "far")),
}
"""What the columns of a group are called, by how many there are."""
MOST = max(CALLED)
PLACES = {called: place for columns in CALLED.values() for place, called in enumerate(columns)}
"""Where a column stands in its group, by what it is called there."""


@dataclass(frozen=True)
class Belief:
    """The weights of one group beforehand: their mean and covariance, in the order of its columns."""

    mean: Vector
    covariance: Matrix

    @cached_property
    def precision(self) -> Matrix:
        """The inverse of the covariance."""
        return np.asarray(np.linalg.inv(self.covariance), dtype=np.float64)


Beforehand = Callable[[Group], Belief]
"""What is believed of a group's weights before any row."""

_GROUPS: list[Group] = []


@cache  # one number for a group, whoever asks; which one it is decides nothing
def _number(group: Group) -> int:
    _GROUPS.append(group)
    return len(_GROUPS) - 1


@dataclass(frozen=True)
class Entries:
    """A row as numbers: each column's group times ``MOST`` plus its place there, and its value."""

    columns: Numbers
    values: Vector

    @classmethod
    def of(cls, row: Row) -> Entries:
        """A row's entries, in its order."""
        columns = [MOST * _number(column[0]) + PLACES[column[1:]] for column in row]
        return cls(np.array(columns, dtype=np.int64), np.array(list(row.values())))


@dataclass(frozen=True)
class Table:
    """Rows one below the other: for each entry its row's number, its column and its value."""

    count: int
    rows: Numbers
    columns: Numbers
    values: Vector

    @classmethod
    def of(cls, rows: Sequence[Entries]) -> Table:
        """The table of some rows."""
        lengths = [len(row.columns) for row in rows]
        return cls(
            len(rows),
            np.repeat(np.arange(len(rows)), lengths),
            np.concatenate([row.columns for row in rows] or [np.zeros(0, dtype=np.int64)]),
            np.concatenate([row.values for row in rows] or [np.zeros(0)]),
        )

    def with_common(self, kind: str, most: int) -> Table:
        """The table without the columns of a kind's groups that are rare in it: all but the ``most`` that are seen
        most, and first."""
        order, counts = self.groups(), np.bincount(self.columns // MOST, minlength=1)
        ours = [number for number in order if _GROUPS[number][0] == kind]
        if len(ours) <= most:
            return self
        rare = sorted(ours, key=lambda number: -counts[number])[most:]
        stays = ~np.isin(self.columns // MOST, rare)
        return Table(self.count, self.rows[stays], self.columns[stays], self.values[stays])

    def groups(self) -> list[int]:
        """The numbers of the groups in it, in the order in which they are seen first."""
        groups = self.columns // MOST
        first = np.full(len(_GROUPS), len(groups))
        first[groups[::-1]] = np.arange(len(groups))[
            ::-1
        ]  # of equal ones the last is written, which is the first
        seen = np.flatnonzero(first < len(groups))
        return [int(number) for number in seen[np.argsort(first[seen])]]

    def times(self, weights: Vector) -> Vector:
        """Each row's sum of values times their columns' weights, summed in the row's order."""
        sums = np.bincount(self.rows, self.values * weights[self.columns], minlength=self.count)
        return sums.astype(np.float64)  # without rows there are none, and numpy counts in whole numbers


class Posterior:
    """Gaussian weights by column, from a prior on groups of columns and weighted rows."""

    def __init__(
        self, table: Table, values: Sequence[float], variances: Sequence[float], prior: Beforehand
    ) -> None:
        self._prior = prior
        groups = table.groups()
        beliefs = [prior(_GROUPS[number]) for number in groups]
        sizes = [len(belief.mean) for belief in beliefs]
        starts = np.cumsum([0, *sizes])
        size = int(starts[-1])
        self._columns = np.array(
            [
                MOST * number + place
                for number, many in zip(groups, sizes, strict=True)
                for place in range(many)
            ],
            dtype=np.int64,
        )
        self._index: dict[Column, int] = {}
        precision = np.zeros((size, size))
        for number, belief, start in zip(groups, beliefs, starts, strict=False):
            stop = start + len(belief.mean)
            precision[start:stop, start:stop] = belief.precision
            self._index |= zip(members(_GROUPS[number], len(belief.mean)), range(start, stop), strict=True)
        where = np.zeros(MOST * len(_GROUPS), dtype=np.int64)
        where[self._columns] = np.arange(size)
        design = np.zeros((table.count, size))
        design[table.rows, where[table.columns]] = table.values
        beforehand = np.concatenate([belief.mean for belief in beliefs] or [np.zeros(0)])
        weights = 1 / np.asarray(variances, dtype=float)
        residual = np.asarray(values, dtype=float) - design @ beforehand
        weighted = design * np.sqrt(weights)[:, None]
        precision += weighted.T @ weighted
        self._covariance = np.linalg.inv(precision) if size else precision
        self._mean = beforehand + self._covariance @ (design.T @ (weights * residual))

    def means(self, table: Table) -> Vector:
        """The mean of each row's value, of the columns that observations have; without their deviation, which costs
        more."""
        weights = np.zeros(MOST * len(_GROUPS))
        weights[self._columns] = self._mean
        return table.times(weights)

    def at(self, row: Row) -> tuple[float, float]:
        """Mean and standard deviation of a row's value, rounded so that no last bit decides anything."""
        known = [(self._index[c], v) for c, v in row.items() if c in self._index]
        mean = variance = 0.0
        if known:
            where, values = np.array([i for i, _ in known]), np.array([v for _, v in known])
            mean = float(values @ self._mean[where])
            variance = float(values @ self._covariance[where[:, None], where] @ values)
        unseen: dict[Group, dict[Column, float]] = {}
        for column, value in row.items():
            if column not in self._index:
                unseen.setdefault(column[0], {})[column] = value
        for group, part in unseen.items():
            belief = self._prior(group)
            vector = np.array([part.get(member, 0.0) for member in members(group, len(belief.mean))])
            mean += float(vector @ belief.mean)
            variance += float(vector @ belief.covariance @ vector)
        return round(mean, 6), round(math.sqrt(max(variance, 0.0)), 6)


def members(group: Group, size: int) -> list[Column]:
    """The columns of a group, in the order of its prior's vector."""
    return [(group, *called) for called in CALLED[size]]
