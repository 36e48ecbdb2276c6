"""The gate at a real pseudo-terminal: every key, every size, and every way to walk away."""

from __future__ import annotations

import io
import re
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console

from darwin import answers, cli, gate
from darwin.answers import Answer
from darwin.cli.review import settle
from darwin.desk import as_text
from darwin.gate import waiting
from darwin.memory.records import Choice, Outcome, Status
from darwin.page import page
from darwin.screen import Screen
from darwin.workspace import open_workspace
from tests.exhaustive import few
from tests.people.terminal import Person

QUESTION = "[e] edit: it is re-trained first  [q] leave all questions undecided"
SIZES = [(80, 24), (140, 50)]
COLOURS = {"colour": {}, "no colour": {"NO_COLOR": "1"}}
TERMINALS = {
    f"{size[0]}x{size[1]}, {name}": {"size": size, **env} for size in SIZES for name, env in COLOURS.items()
}
EVERY = few(TERMINALS, "80x24, colour")
"""Where each key is tried."""


def review(
    folder: Path, *arguments: str, size: tuple[int, int] = (80, 24), typed: str = "", **env: str
) -> Person:
    """A person who has started darwin review."""

    def program() -> None:
        sys.argv = ["darwin", "review", "-C", str(folder), *arguments]
        cli.main()

    return Person(program, *size, typed, **env)


def state(folder: Path):
    """Everything that a decision could change."""
    memory = open_workspace(folder).memory
    repo = open_workspace(folder).lineage.repo
    return memory.decisions, memory.run, answers.posted(folder), repo.git.rev_parse("main")


@pytest.fixture
def champion(folder):
    return waiting(open_workspace(folder).memory)[-1]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("size", SIZES)
def test_the_page_tells_what_changed_how_sure_it_is_and_what_it_costs(folder, champion, size, colour):
    before = state(folder)
    person = review(folder, size=size, **COLOURS[colour])
    shown = person.sees(QUESTION)
    for words in (
        champion.id, champion.author, "BETTER than main (g000-base)", " sure", "paired seeds", "At 6 x the budget",
        "perplexity", "ranges 98 % sure", "MFU", "main = base", "Hypothesis", "Expected", "it came to", "lines in",
        "Costs", "parameters", "memory", "Audits", "Not tested", "On top of",
        "[a] approve: merges it into main", "[Enter, d] decide later; nothing is blocked",
        "[r] reject; you are asked why",
    ):  # fmt: skip
        assert words in shown, words
    assert (b"\x1b[1;32m" in person.all) == (colour == "colour")
    person.types("x")
    person.sees("That key does nothing here.", QUESTION)
    person.types("f")
    shown = person.sees("======", "lines 1-")
    assert " - " in shown and " + " in shown
    for key in ("b", " ", "b", "\x1b[6~", "\x1b[A", "q"):
        person.types(key)
    person.sees(QUESTION, champion.id)
    person.types("q")
    person.sees("undecided")
    assert person.leaves() == 0
    assert state(folder) == before


def test_the_costs_are_differences_of_the_rows_above_them(folder, champion):
    opened = open_workspace(folder)
    shares = (0.4034, 0.3989, 0.4113, 0.3871)
    uneven = [t.model_copy(update={"mfu": shares[n % 4]}) for n, t in enumerate(champion.trials)]
    shown = gate.case(opened.memory, opened.lineage, champion.model_copy(update={"trials": tuple(uneven)}))
    text = as_text(page(shown))
    this, main = (
        re.search(rf"^{row} .*?([\d.]+)%", text, re.MULTILINE)[1] for row in ("this", "main = base")
    )
    assert this != main
    assert f"MFU {float(this) - float(main):+.1f} points" in text


def test_the_whole_diff_can_be_paged_through_and_back_to_the_question(folder, champion):
    person = review(folder)
    person.sees(QUESTION)
    person.types("f")
    shown = person.sees("lines 1-")
    total = int(shown.rpartition(" of ")[2].split()[0])
    while f"-{total} of" not in person.text:
        before = person.text
        person.types(" ")
        while person.text == before:
            person._read(60)
    person.types(" ")
    person.sees(QUESTION)
    person.types("a")
    person.sees(f"You saw all {total} lines.")
    person.types("\x1b")
    person.sees("Nothing was decided.")
    person.types("\x03")
    assert person.leaves() == 0


@pytest.mark.parametrize("terminal", EVERY)
def test_an_approval_merges_by_the_persons_name_what_was_on_the_screen(folder, champion, terminal):
    person = review(folder, **TERMINALS[terminal])
    person.sees(QUESTION)
    person.types("a")
    person.sees("Why merge it")
    person.types("good x\x7fidea\r")
    person.sees("is merged into main by Eve.")
    assert person.leaves() == 0
    opened = open_workspace(folder)
    decision, git = opened.memory.decisions[champion.id], opened.lineage.repo.git
    assert (decision.choice, decision.by, decision.reason) == (
        Choice.MERGE,
        "Eve <eve@example.org>",
        "good idea",
    )
    assert git.rev_parse("main", "main^{tree}").split() == [decision.merge_commit, champion.tree]
    assert (decision.tree, opened.memory.run.incumbent) == (champion.tree, champion.id)
    assert git.log("-1", "--format=%an <%ae>%n%b", "main").startswith("Eve <eve@example.org>\ngood idea")
    assert "BETTER than main (g000-base)" in decision.shown and champion.subject[:30] in decision.shown
    assert 0 <= decision.lines_seen <= decision.lines
    assert "merge by Eve <eve@example.org>: good idea" in git.notes("--ref=darwin", "show", champion.commit)
    assert decision.model_dump_json(by_alias=True) in git.show(
        f"refs/notes/darwin-records:decisions/{champion.id}.json"
    )


@pytest.mark.parametrize("terminal", EVERY)
def test_a_rejection_asks_why_and_keeps_it(folder, champion, terminal):
    before = open_workspace(folder).memory.run.main
    person = review(folder, **TERMINALS[terminal])
    person.sees(QUESTION)
    person.types("r")
    person.sees("Why not?")
    person.types("too slow\r")
    person.sees("is rejected by Eve.")
    assert person.leaves() == 0
    memory = open_workspace(folder).memory
    decision = memory.decisions[champion.id]
    assert (decision.choice, decision.reason, memory.run.main) == (Choice.REJECT, "too slow", before)
    assert champion.id in decision.shown
    assert champion.id not in [c.id for c in waiting(memory)]


@pytest.mark.parametrize("terminal", EVERY)
@pytest.mark.parametrize("key", ["\r", "d"])
def test_enter_defers_and_the_change_still_waits(folder, champion, key, terminal):
    person = review(folder, **TERMINALS[terminal])
    person.sees(QUESTION)
    person.types(key)
    person.sees("waits for your decision")
    assert person.leaves() == 0
    memory = open_workspace(folder).memory
    assert memory.decisions[champion.id].choice is Choice.DEFER
    assert memory.decisions[champion.id].by == "Eve <eve@example.org>"
    assert champion.id in [c.id for c in waiting(memory)]


@pytest.mark.parametrize("terminal", EVERY)
def test_an_edit_in_the_persons_editor_becomes_a_script_that_waits_to_be_trained(
    folder, champion, tmp_path, terminal
):
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nfor f in "$@"; do echo "# mine" >> "$f"; done\n')
    editor.chmod(0o755)
    person = review(folder, EDITOR=str(editor), **TERMINALS[terminal])
    person.sees(QUESTION)
    person.types("e")
    person.sees("What did you change")
    person.types("tidier\r")
    person.sees("was edited by Eve", "darwin evolve")
    assert person.leaves() == 0
    opened = open_workspace(folder)
    edited = opened.memory.individuals[opened.memory.decisions[champion.id].edited]
    assert (edited.operator, edited.parents, edited.status) == ("edit", (champion.id,), "born")
    assert any(b"# mine" in data for data in opened.lineage.files(edited.commit).values())
    author = opened.lineage.repo.git.log("-1", "--format=%an <%ae>", edited.commit)
    assert author == edited.author == "Eve <eve@example.org>"
    assert opened.memory.run.incumbent == "g000-base"


@pytest.mark.parametrize(
    ("script", "words"),
    [("true", "You changed nothing."), ("exit 3", "ended with 3"), ("rm -f *.py", "cannot be read")],
)
def test_an_edit_that_is_none_decides_nothing(folder, champion, tmp_path, script, words):
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o755)
    before = state(folder)
    person = review(folder, EDITOR=str(editor))
    person.sees(QUESTION)
    person.types("e")
    person.sees(words, QUESTION)
    person.types("q")
    assert person.leaves() == 0
    assert state(folder) == before


def test_an_editor_that_is_missing_is_named(folder, champion):
    person = review(folder, EDITOR="/nowhere/editor")
    person.sees(QUESTION)
    person.types("e")
    person.sees("The editor /nowhere/editor cannot be run", QUESTION)
    person.types("q")
    assert person.leaves() == 0


PROMPTS = {
    "the question": [],
    "the diff": [("f", "lines 1-")],
    "the reason to merge": [("a", "Why merge it"), ("half a reason", "half a reason")],
    "the reason to reject": [("r", "Why not?"), ("half a reason", "half a reason")],
    "the reason of an edit": [("e", "What did you change"), ("half a reason", "half a reason")],
    "the second yes": [
        ("a", "Why merge it"),
        ("all the same\r", "Write yes to merge it"),
        ("yes", "e: yes"),
    ],
}
"""Keys that lead to each, and words that stand there then."""


@pytest.fixture
def editor(tmp_path):
    path = tmp_path / "editor"
    path.write_text('#!/bin/sh\necho "# mine" >> "$1"\n')
    path.chmod(0o755)
    return str(path)


def with_a_worse_edit(folder: Path) -> None:
    """Let the person's own edit of the champion, judged worse than main, be the first to wait at the gate."""
    opened = open_workspace(folder)
    memory = opened.memory
    champion = waiting(memory)[-1]
    files = {"train.py": opened.lineage.files(champion.commit)["train.py"].decode() + "# mine\n"}
    edit = Answer(
        choice=Choice.EDIT, by="Eve <eve@example.org>", tree=champion.tree, main=memory.run.main, files=files
    )
    answers.post(folder, champion.id, edit)
    settle(folder, Screen(Console(file=io.StringIO())))
    memory = open_workspace(folder).memory
    edited = memory.individuals[memory.decisions[champion.id].edited]
    verdict = champion.verdict.model_copy(
        update={"outcome": Outcome.WORSE, "effect": 0.01, "interval": (0.001, 0.02)}
    )
    earlier = champion.ordinal - 1  # of equals, the earlier one is shown first
    known = {"status": Status.TRAINED, "trials": champion.trials, "verdict": verdict, "ordinal": earlier}
    memory.record(edited.model_copy(update=known))


@pytest.mark.parametrize("terminal", EVERY)
def test_a_worse_edit_merges_by_a_second_yes_alone(folder, terminal):
    with_a_worse_edit(folder)
    person = review(folder, **TERMINALS[terminal])
    shown = person.sees(QUESTION, "WORSE than main")
    assert "Careful: it is worse against main, not better." in shown
    for said, words in (
        ("no", ("Nothing was decided.", QUESTION)),
        ("yes", ("is merged into main by Eve.",)),
    ):
        assert open_workspace(folder).memory.run.incumbent == "g000-base"
        for keys, asked in (("a", "Why merge it"), ("all the same\r", "Write yes to merge it")):
            person.types(keys)
            person.sees(asked)
        person.types(f"{said}\r")
        person.sees(*words)
    assert person.leaves() == 0
    memory = open_workspace(folder).memory
    assert memory.decisions[memory.run.incumbent].despite


def standing_at(prompt: str, folder: Path, editor: str) -> Person:
    """A person who reviews and stands at a prompt, half an answer typed where it asks for one."""
    if prompt == "the second yes":
        with_a_worse_edit(folder)
    person = review(folder, EDITOR=editor)
    person.sees(QUESTION, "WORSE than main" if prompt == "the second yes" else "BETTER than main")
    for keys, words in PROMPTS[prompt]:
        person.types(keys)
        person.sees(words)
    return person


@pytest.mark.parametrize("prompt", PROMPTS)
def test_ctrl_c_leaves_the_decision_open(folder, editor, prompt):
    person = standing_at(prompt, folder, editor)
    before = state(folder)
    person.types("\x03")
    if len(PROMPTS[prompt]) > 1:
        person.sees("Your edit was dropped." if "edit" in prompt else "Nothing was decided.")
    if PROMPTS[prompt]:
        person.sees(QUESTION, " than main")
        person.types("\x03")
    person.sees("undecided")
    assert person.leaves() == 0
    assert state(folder) == before


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_closed_terminal_leaves_the_decision_open(folder, editor, prompt):
    person = standing_at(prompt, folder, editor)
    before = state(folder)
    assert person.hangs_up() in (-signal.SIGHUP, 0, 1)
    assert state(folder) == before


EDITORS = {
    "one that dies of Ctrl-C": "",
    "one that traps it": "signal.signal(signal.SIGINT, lambda *_: os.write(1, b'still here\\n'))",
}


def in_the_editor(folder: Path, tmp_path: Path, kind: str) -> Person:
    """A person in an editor that writes their line once they press Enter."""
    path = tmp_path / "slow_editor"
    path.write_text(
        f"#!{sys.executable} -I\nimport os, signal, sys\n"
        f"signal.signal(signal.SIGINT, signal.SIG_DFL)\n{EDITORS[kind]}\n"
        "print('\\nthe editor is open', flush=True)\nsys.stdin.readline()\n"
        "open(sys.argv[1], 'a').write('# mine\\n')\n"
    )
    path.chmod(0o755)
    person = review(folder, EDITOR=str(path))
    person.sees(QUESTION)
    person.types("e")
    person.sees("the editor is open")
    return person


def test_ctrl_c_in_an_editor_that_dies_of_it_drops_the_edit_and_asks_again(folder, tmp_path):
    before = state(folder)
    person = in_the_editor(folder, tmp_path, "one that dies of Ctrl-C")
    person.types("\x03")
    person.sees("The editor slow_editor ended with -2: the edit was dropped.", QUESTION)
    person.types("q")
    person.sees("undecided")
    assert person.leaves() == 0
    assert state(folder) == before


@pytest.mark.parametrize(("keys", "words"), [("\x03", "still here"), ("\x1a", "")])
def test_an_editor_that_takes_ctrl_c_for_itself_or_is_stopped_goes_on(
    folder, champion, tmp_path, keys, words
):
    person = in_the_editor(folder, tmp_path, "one that traps it")
    person.types(keys)
    person.sees(words)
    person.types("\r")
    person.sees("What did you change")
    person.types("tidier\r")
    person.sees("was edited by Eve")
    assert person.leaves() == 0
    opened = open_workspace(folder)
    edited = opened.memory.individuals[opened.memory.decisions[champion.id].edited]
    assert any(b"# mine" in data for data in opened.lineage.files(edited.commit).values())


@pytest.mark.parametrize("kind", EDITORS)
def test_a_terminal_that_closes_on_an_editor_leaves_the_decision_open(folder, tmp_path, kind):
    before = state(folder)
    person = in_the_editor(folder, tmp_path, kind)
    assert person.hangs_up() in (-signal.SIGHUP, 0, 1)
    assert state(folder) == before


def test_what_was_typed_before_the_page_stood_there_decides_nothing(folder, champion):
    before = state(folder)
    person = review(folder, typed="ay\r\ra\r")
    person.sees(QUESTION)
    person.types("q")
    person.sees("undecided")
    assert person.leaves() == 0
    assert state(folder) == before
