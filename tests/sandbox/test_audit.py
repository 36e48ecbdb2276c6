"""The audit of a genome folder, on real trials of the tiny genome."""

from __future__ import annotations

from darwin.audit import audit
from tests.tiny import TINY


def test_a_budget_of_time_is_billed_by_the_pace_of_the_machine_as_in_a_run(dataset, sandbox):
    trial, lines = audit(TINY, TINY, dataset, sandbox, "0.5s")
    assert trial.slowdown is not None and trial.seconds is not None
    assert {line.name: line.passed for line in lines}["smoke"]
