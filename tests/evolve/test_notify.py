"""The command of ``--notify`` is told of a decision, the end and a failure; where it fails itself, nothing stops."""

from __future__ import annotations

import pytest

from darwin.begin import ANCESTOR, create
from darwin.config import Config
from darwin.sandbox import SandboxError
from darwin.workspace import open_workspace
from tests.evolve.killed import run


@pytest.fixture
def told(tmp_path):
    """A command that writes down what it is told, and reads it back: event and text."""
    path = tmp_path / "told"

    class Told(str):
        def lines(self) -> list[list[str]]:
            return [line.split(": ", 1) for line in path.read_text().splitlines()]

    return Told(f'echo "$DARWIN_EVENT: $DARWIN_TEXT" >> {path}')


def test_a_run_tells_of_a_decision_that_waits_and_of_its_end(data, tmp_path, told):
    status, _ = run(tmp_path / "w", data, 3, approve="defer", notify=told)
    assert status == 0
    events = told.lines()
    memory = open_workspace(tmp_path / "w").memory
    assert [event for event, _ in events].count("end") == 1 and sorted(
        {event for event, _ in events} - {"end"}
    ) == ["waiting"]
    assert any("waits for your decision: best -" in text for event, text in events if event == "waiting")
    assert next(text for event, text in events if event == "end").startswith("best -")
    assert memory.run.generation == 3


def test_a_failure_is_told_with_its_sentence_and_there_is_no_end(data, tmp_path, told, failing):
    failing(SandboxError("The engine is gone."))
    status, _ = run(tmp_path / "w", data, 2, notify=told)
    assert status == 1
    assert told.lines() == [["failure", "The engine is gone."]]


def test_a_run_that_was_cut_short_tells_of_a_failure_and_of_nothing_else(data, tmp_path, told, cut_short):
    assert run(tmp_path / "w", data, 2, notify=told)[0] == 1
    assert told.lines() == [["failure", "0 of 2 generations are complete."]]


def test_a_command_that_fails_is_said_once_and_the_run_is_complete(data, tmp_path):
    status, said = run(tmp_path / "w", data, 3, approve="defer", notify="exit 3")
    assert status == 0
    assert said.count("The command of --notify ended with 3: exit 3") == 1
    assert open_workspace(tmp_path / "w").memory.run.target is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("least_gain = 60.0", "less than least_gain = 60"),
        ("least_confidence = 0.99999", "less than confidence = 0.99999"),
        ("most_added = 0", "more than most_added = 0"),
    ],
)
def test_the_policy_takes_its_thresholds_from_the_gate_section(data, tmp_path, line, words):
    folder = tmp_path / "w"
    create(folder, Config(data=str(data), agents="rules:4", workers=1), ANCESTOR)
    settings = folder / "darwin.toml"
    name = line.partition(" ")[0]
    before, section, gate = settings.read_text().partition("[gate]")
    edited = [line if one.startswith(name) else one for one in gate.splitlines()]
    settings.write_text(before + section + "\n".join(edited) + "\n")
    assert run(folder, data, 2, approve="policy")[0] == 0
    memory = open_workspace(folder).memory
    assert memory.run.incumbent == "g000-base" and memory.decisions
    assert any(words in decision.reason for decision in memory.decisions.values())
