"""A run at a real terminal: what it shows while it goes on, the key g, and the question at its end."""

from __future__ import annotations

import io
import subprocess

import pytest

from darwin import answers
from darwin.cli.evolve import watched
from darwin.gate import waiting
from darwin.loop import evolve
from darwin.memory.records import Choice
from darwin.screen import Screen
from darwin.workspace import open_workspace
from tests.evolve import laboratory
from tests.evolve.laboratory import data_set, start
from tests.people.evolving import QUESTION, run


@pytest.fixture
def data(clean_environment, tmp_path):
    return data_set(tmp_path)


def test_at_the_end_the_person_is_asked_once_and_what_they_say_is_done(data, tmp_path):
    folder = tmp_path / "r"
    person = run(folder, data)
    person.sees(QUESTION, "BETTER than main")
    person.types("a")
    person.sees("Why merge it")
    person.types("fine\r")
    person.sees("is merged into main by Eve.")
    assert person.leaves() == 0
    memory = open_workspace(folder).memory
    assert [d.reason for d in memory.decisions.values() if d.choice is Choice.MERGE] == ["fine"]
    assert memory.run.target is None and memory.run.comparison is not None


@pytest.mark.parametrize("away", ["ctrl-c", "closed"])
def test_who_walks_away_from_the_question_finds_it_open_and_the_run_complete(data, tmp_path, away):
    folder = tmp_path / "r"
    person = run(folder, data)
    person.sees(QUESTION)
    if away == "ctrl-c":
        person.types("\x03")
        assert person.leaves() == 0
    else:
        person.hangs_up()
    opened = open_workspace(folder)
    assert opened.memory.run.main == opened.memory.resolve("base").commit
    assert waiting(opened.memory) and opened.memory.run.comparison is not None
    if away == "closed":  # the same command goes on, and asks again
        again = run(folder, data)
        again.sees(QUESTION)
        again.types("q")
        assert again.leaves() == 0
    assert open_workspace(folder).memory.run.target is None


def test_a_worse_edit_comes_back_with_a_warning_and_takes_a_second_yes(data, tmp_path):
    folder = tmp_path / "r"
    editor = tmp_path / "editor"
    lines = [f"# mine {n}" for n in range(300)]
    bad = sorted(
        lines,
        key=lambda n: laboratory.random.Random(laboratory.hashlib.sha256(n.encode()).hexdigest()).uniform(
            -0.03, 0.02
        ),
    )
    (tmp_path / "bad").write_text("\n".join(bad[-30:]) + "\n")
    editor.write_text(f'#!/bin/sh\ncat {tmp_path}/bad >> "$1"\n')
    editor.chmod(0o755)
    person = run(folder, data, EDITOR=str(editor))
    person.sees(QUESTION)
    person.types("e")
    person.sees("What did you change")
    person.types("worse, I fear\r")
    shown = person.sees("WORSE than main", QUESTION)
    assert "edit1 by Eve" in shown and "Careful: it is worse against main, not better." in shown
    for said, words in (
        ("no", "Nothing was decided."),
        ("yes", "is merged into main"),
    ):
        person.types("a")
        person.sees("Why merge it")
        person.types("all the same\r")
        person.sees("Write yes to merge it")
        person.types(said + "\r")
        person.sees(words)
    assert person.leaves() == 0
    opened = open_workspace(folder)
    merged = opened.memory.individuals[opened.memory.run.incumbent]
    assert merged.operator == "edit" and opened.memory.decisions[merged.id].despite
    assert opened.lineage.repo.git.rev_parse("main^{tree}") == merged.tree


def test_the_live_lines_say_how_far_it_is_and_g_opens_the_gate_while_it_goes_on(data, tmp_path):
    folder, gate_open = tmp_path / "r", tmp_path / "open"
    once = tmp_path / "once"

    def hold(job) -> None:
        """The first trial after a change waits for a decision lasts until the person has answered."""
        if once.exists() or not folder.exists():
            return
        memory = open_workspace(folder).memory
        if memory.begun and waiting(memory):
            once.touch()
            while not answers.posted(folder)[0]:
                gate_open.exists()

    person = run(folder, data, generations=4, hold=hold)
    shown = person.sees("1 change waits", "press g", "trains")
    assert "generation " in shown and " of 4, " in shown and "CPU seconds, at most" in shown
    assert (
        "best -" in shown
        and ", confirmed; " in shown
        and "at 6 x: not tested yet" in shown
        and "better than g000-base: " in shown
    )
    assert "█▁ 2.500" in shown
    person.types("x")
    person.types("g")
    person.sees(QUESTION, "BETTER than main")
    person.types("r")
    person.sees("Why not?")
    person.types("not this\r")
    person.sees("carried out at the run's next step")
    person.sees(QUESTION) if waiting(open_workspace(folder).memory) else None
    while person._read(1):
        if QUESTION in person.text:
            person.types("q")
    person._ended()
    memory = open_workspace(folder).memory
    assert [d.reason for d in memory.decisions.values() if d.choice is Choice.REJECT] == ["not this"]
    assert memory.run.generation == 4


def test_without_a_terminal_there_is_one_plain_line_an_event(data, tmp_path):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, soft_wrap=True, highlight=False)
    evolution = start(tmp_path / "r", data, Screen(console), agents="rules:3", approve="defer")
    with watched(evolution, 1):
        evolve(evolution, 1)
    lines = console.file.getvalue().splitlines()
    assert "\x1b" not in console.file.getvalue() and "press g" not in console.file.getvalue()
    assert sum(line.startswith("g001-") and "rewrites" in line for line in lines) == 3


def test_a_persons_command_is_told_of_a_decision_and_texts_are_not_part_of_it(data, tmp_path):
    from darwin.notify import Notifier

    told = tmp_path / "told"
    notifier = Notifier(f'echo "$DARWIN_EVENT: $DARWIN_TEXT" >> {told}', tmp_path, print)
    evolution = start(tmp_path / "r", data, agents="rules:4", approve="defer")
    evolution.notify = notifier
    evolve(evolution, 2)
    notifier("end", "$(touch pwned); `touch pwned`")
    notifier.finish()
    assert "waiting: " in told.read_text() and "waits for your decision" in told.read_text()
    assert "end: $(touch pwned)" in told.read_text()
    assert subprocess.run(["ls"], capture_output=True, text=True, check=True).stdout.count("pwned") == 0
