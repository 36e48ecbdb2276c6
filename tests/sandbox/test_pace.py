"""The pace of the machine: when a bill is divided, and by how much."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from darwin.sandbox import Limits, pace
from tests.tiny import tiny_files


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    now = [1000.0]
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def machine(clock):
    """A pace beside which a trial was timed."""
    made = Timed()
    with made.beside():
        pass
    yield made
    made.close()


class Timed(pace.Pace):
    """A pace whose samples cost what the test says."""

    costs = 1.0

    def __init__(self):
        super().__init__(None, tiny_files(), None, Limits(), None)  # type: ignore[arg-type]

    def sample(self):
        self._samples.append((pace.time.monotonic(), self.costs))
        return self.costs


def test_nothing_is_slow_before_generation_0_is_measured(clock, machine):
    machine.costs = 7.0
    assert machine.slowdown(clock[0]) == 1.0 and not machine._samples


def test_a_bill_is_divided_by_the_root_of_what_the_bases_steps_grew_dearer_by_and_never_raised(
    clock, machine
):
    assert machine.settle(clock[0]) == 1.0
    clock[0] += 10 * pace.RECENT_SECONDS
    machine.costs = 1.44
    assert math.isclose(machine.slowdown(clock[0]), 1.2)
    clock[0] += 10 * pace.RECENT_SECONDS
    machine.costs = 0.5
    assert machine.slowdown(clock[0]) == 1.0
    assert machine.settle(clock[0]) == 1.0, "what later bills are compared with is found once"


def test_a_few_dear_samples_do_not_make_a_machine_slow(clock, machine):
    machine.settle(clock[0])
    clock[0] += 10 * pace.RECENT_SECONDS
    for machine.costs in (1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0):
        machine.sample()
    assert machine.slowdown(clock[0]) == 1.0
