"""Two gates at once, and the gate that g opens in a run: what was said first counts, and nothing stands still."""

from __future__ import annotations

import signal
from importlib import import_module

import pytest

from darwin import answers
from darwin.answers import Answer
from darwin.evolution import SEEDS
from darwin.gate import waiting
from darwin.loop import evolve
from darwin.memory.records import Choice
from darwin.screen import Screen
from darwin.workspace import open_workspace
from tests.evolve import killed
from tests.evolve.laboratory import data_set, start
from tests.people.evolving import QUESTION, run, until


@pytest.fixture
def data(clean_environment, tmp_path):
    return data_set(tmp_path)


def answer(folder, choice: Choice, reason: str = "") -> str:
    """Leave an answer on the change that waits, as another terminal does; its id."""
    opened = open_workspace(folder)
    contender = waiting(opened.memory)[-1]
    said = Answer(
        choice=choice, by="Bob <b@x>", reason=reason, tree=contender.tree, main=opened.memory.run.main
    )
    answers.post(folder, contender.id, said)
    return contender.id


def decisions(folder) -> list[tuple[str, Choice, str]]:
    """What was decided by people: by whom, what and why."""
    memory = open_workspace(folder).memory
    return [
        (d.by.partition(" <")[0], d.choice, d.reason)
        for d in memory.decisions.values()
        if d.shown or d.reason
    ]


def main(folder) -> list[str]:
    """The trees of main, newest first."""
    return open_workspace(folder).lineage.repo.git.log("--first-parent", "--format=%T", "main").splitlines()


def test_what_g_decided_during_the_closing_comparison_is_done_and_not_asked_again(data, tmp_path):
    folder = tmp_path / "r"

    def hold(job) -> None:
        if job.seed % 1000 == SEEDS["closing"]:
            until(lambda: bool(answers.answered(folder)) or main(folder)[1:])

    person = run(folder, data, hold=hold)
    person.sees("Closing comparison", "press g")
    person.types("g")
    person.sees(QUESTION, "BETTER than main")
    person.types("a")
    person.sees("Why merge it")
    person.types("fine\r")
    assert person.leaves() == 0, "it was asked again"
    assert decisions(folder) == [("Eve", Choice.MERGE, "fine")]
    assert len(main(folder)) == 2 and open_workspace(folder).memory.run.comparison is not None


def test_a_second_answer_to_the_question_at_the_end_is_told_that_the_first_counts(data, tmp_path):
    folder = tmp_path / "r"
    person = run(folder, data)
    person.sees(QUESTION)
    contender = answer(folder, Choice.MERGE, "from my desk")
    person.types("r")
    person.sees("Why not?")
    person.types("no\r")
    person.sees(f"{contender} was answered a moment ago from another terminal (merge by Bob)")
    assert person.leaves() == 0
    assert decisions(folder) == [("Bob", Choice.MERGE, "from my desk")]
    assert open_workspace(folder).memory.run.target is None


def test_an_answer_during_the_closing_comparison_is_carried_out_where_nobody_is_asked(data, tmp_path):
    class Answering(Screen):
        def comparing(self, *told):
            super().comparing(*told)
            answer(tmp_path / "r", Choice.MERGE, "good")

    evolution = start(tmp_path / "r", data, Answering(), agents="rules:4", approve="defer")
    evolve(evolution, 2)
    assert decisions(tmp_path / "r") == [("Bob", Choice.MERGE, "good")]
    assert len(main(tmp_path / "r")) == 2


def test_an_answer_that_comes_while_the_run_ends_is_carried_out_as_was_promised(data, tmp_path, monkeypatch):
    command = import_module("darwin.cli.evolve")
    folder, shown = tmp_path / "r", command.show_end

    def show_end(*told):
        shown(*told)
        answer(folder, Choice.MERGE, "late")

    monkeypatch.setattr(command, "show_end", show_end)
    code, said = killed.run(folder, data, 3, approve="defer")
    assert code == 0 and "is merged into main by Bob." in said
    assert decisions(folder) == [("Bob", Choice.MERGE, "late")] and not answers.anything(folder)


@pytest.mark.parametrize("away", ["ctrl-c", "closed"])
def test_the_run_goes_on_while_g_holds_the_gate_open_and_who_walks_away_leaves_it_open(data, tmp_path, away):
    folder, held, opened, left = (tmp_path / name for name in ("r", "held", "opened", "left"))

    def hold(job) -> None:
        """The first trial after a change waits comes back when the gate is open, the closing ones when it is left."""
        if job.seed % 1000 == SEEDS["closing"] and opened.exists():
            until(left.exists)
        if not held.exists() and folder.exists():
            memory = open_workspace(folder).memory
            if memory.begun and waiting(memory):
                held.touch()
                until(opened.exists)

    def trials() -> int:
        return sum(len(i.trials) for i in open_workspace(folder).memory.individuals.values())

    person = run(folder, data, generations=3, hold=hold)
    person.sees("1 change waits", "press g")
    person.types("g")
    person.sees(QUESTION, "BETTER than main")
    before = trials()
    opened.touch()
    until(lambda: trials() >= before + 5)
    assert QUESTION in person.text, "the gate is open, and the run went on"
    if away == "ctrl-c":
        person.types("\x03")
        person.sees("Closing comparison", "press g")
        left.touch()
        person.sees(QUESTION)  # the one at the end
        person.types("q")
        assert person.leaves() == 0
    else:
        assert person.hangs_up() in (-signal.SIGHUP, 0, 1)
        assert decisions(folder) == []
        again = run(folder, data, generations=3)
        again.sees(QUESTION)
        again.types("q")
        assert again.leaves() == 0
    memory = open_workspace(folder).memory
    assert decisions(folder) == [] and waiting(memory) and len(main(folder)) == 1
    assert memory.run.generation == 3 and memory.run.target is None
