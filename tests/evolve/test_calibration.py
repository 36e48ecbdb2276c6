"""The rule of verdicts, on resampled decisions from the stored pool: no retraining."""

from __future__ import annotations

import math

import pytest

from darwin import calibration
from darwin.errors import UsageError


@pytest.fixture(scope="module")
def pool():
    return calibration.Pool.read(calibration.POOL)


def test_the_pool_is_large_enough_and_its_copies_are_all_different(pool):
    assert len(pool.copies) >= 100 and len(set(pool.copies)) == len(pool.copies)
    assert len(pool.edits) >= 2 and len(pool.base) >= 10


def test_false_approvals_stay_within_one_percent(pool):
    assert calibration.false_approvals(pool, 4000, seed=1).value <= 0.01
    assert calibration.false_runs(pool, 500, seed=1).value <= 0.01


def test_power_grows_with_the_effect_and_falls_with_the_noise(pool):
    small, large = (calibration.power(pool, math.log(1 - x), 500, 1).value for x in (0.005, 0.05))
    assert small < large
    assert calibration.power(pool, math.log(0.98), 500, 1).value >= 0.8
    assert calibration.power(pool, math.log(0.98), 500, 1, scale=4.0).value < 0.8


def test_an_interval_holds_the_rate():
    rate = calibration.Rate(3, 1000)
    assert rate.interval[0] < rate.value < rate.interval[1]
    assert calibration.Rate(0, 10).interval[0] == 0.0 and calibration.Rate(10, 10).interval[1] == 1.0


def test_a_missing_pool_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"bench/pool\.py"):
        calibration.Pool.read(tmp_path / "none.jsonl")
