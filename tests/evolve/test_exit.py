"""The exit code tells the truth: 0 only where all that was asked for is done, or a person ended it."""

from __future__ import annotations

from darwin.sandbox import SandboxError
from darwin.workspace import open_workspace
from tests.evolve.killed import run


def test_all_generations_complete_is_0_and_so_is_nothing_left_to_do(data, tmp_path):
    assert run(tmp_path / "w", data, 1)[0] == 0
    status, said = run(tmp_path / "w", data, 1)
    assert status == 0 and "Nothing is missing: 1 generation complete." in said


def test_a_failure_of_ours_is_1_and_what_is_missing_is_said(data, tmp_path, failing):
    failing(SandboxError("The engine is gone."))
    status, said = run(tmp_path / "w", data, 2)
    assert status == 1
    assert "0 of 2 generations are complete and all that was measured is kept." in said
    assert said.splitlines()[-1] == "darwin: The engine is gone."
    assert open_workspace(tmp_path / "w").memory.run.target == 2


def test_a_person_who_stops_it_ends_it_with_0(data, tmp_path, failing):
    failing(KeyboardInterrupt())
    status, said = run(tmp_path / "w", data, 2)
    assert status == 0
    assert "Stopped by you; 0 of 2 generations are complete" in said


def test_a_limit_that_a_person_set_ends_it_with_0_and_what_is_missing_is_said(data, tmp_path):
    status, said = run(tmp_path / "w", data, 2, for_="0.001s")
    assert status == 0
    assert "the time given with --for is used up" in said and "0 of 2 generations are complete." in said


def test_a_run_that_was_cut_short_ends_with_1(data, tmp_path, cut_short):
    """What cuts it short is in tests/models: an endpoint that answers no more."""
    status, said = run(tmp_path / "w", data, 2)
    assert status == 1
    assert "0 of 2 generations are complete." in said
    assert open_workspace(tmp_path / "w").memory.run.target == 2
