"""The pace of the machine: when a bill is divided, and by how much."""

from __future__ import annotations

import os
import threading
import time

import pytest

from darwin.sandbox import pace
from darwin.sandbox.pace import Pace
from tests.tiny import cores_of

cores = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")


def test_nothing_is_slow_before_the_base_is_measured():
    machine = Pace(None)
    assert machine.settle() is None
    assert machine.slowdown([7.0]) == 1.0
    assert Pace(0.35).quiet is None, "an earlier darwin timed something else"


def test_a_bill_is_divided_by_a_power_of_what_the_probes_grew_dearer_by():
    machine = Pace(None)
    for probes in ([0.005], [0.001, 0.003]):  # a rehearsal, and the run that is billed
        machine.slowdown(probes)
    assert machine.settle() == pytest.approx(0.002)
    assert machine.slowdown([0.002, 0.006]) == pytest.approx(2.0**pace.EXPONENT)
    assert machine.slowdown([0.001]) == pytest.approx(0.5**pace.EXPONENT)
    assert machine.settle() == pytest.approx(0.002), "what later bills are compared with is found once"


def test_a_machine_that_was_not_looked_at_is_not_slow():
    assert Pace(0.001).slowdown([]) == 1.0


@cores
def test_each_trial_has_a_core_of_its_own_and_one_too_many_has_none():
    machine, mine = Pace(None), sorted(os.sched_getaffinity(0))
    taken = [machine.core() for _ in range(len(mine) + 1)]
    *given, last = [one.__enter__() for one in taken]
    assert (sorted(given), last) == (mine, None)
    taken[0].__exit__(None, None, None)
    with machine.core() as again:
        assert again == given[0]


@cores
def test_the_calmest_core_is_taken(monkeypatch):
    """Two runs on one machine are not to share a core while others idle."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(pace.psutil, "cpu_percent", lambda *_, percpu: [90.0, 80.0, 5.0, 60.0])
    machine = Pace(None)
    with machine.core() as first, machine.core() as second:
        assert (first, second) == (2, 3)


@cores
def test_probes_are_taken_on_the_core_and_nobody_else_moves_there():
    before, machine = os.sched_getaffinity(0), Pace(None)
    with machine.core() as core, machine.beside(core) as probes:
        (watching,) = [one for one in threading.enumerate() if one.name == "pace"]
        until = time.monotonic() + 60
        while len(probes) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert os.sched_getaffinity(watching.native_id) == {core}
        assert os.sched_getaffinity(0) == before
    assert len(probes) >= 3 and min(probes) > 0
    assert not watching.is_alive()


@cores
def test_all_that_a_trial_starts_keeps_to_its_core(dataset, sandbox, limits):
    """Without a clock it goes where it likes."""
    mine = sorted(os.sched_getaffinity(0))
    (core,) = cores_of(dataset, sandbox, limits, Pace(None))
    assert core in mine
    assert cores_of(dataset, sandbox, limits, None) == mine
