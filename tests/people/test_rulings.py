"""Requests at the gate: listed, read, granted, denied and answered there, at 80x24, and walked away from."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from darwin import answers
from darwin.cli.review import settle
from darwin.gate import waiting
from darwin.memory.records import Expectation
from darwin.memory.requests import Asking, Kind, Request, State, Wish
from darwin.requests import ruled
from darwin.screen import Screen
from darwin.workspace import open_workspace
from tests.asking.conftest import Asker, wishing
from tests.command import darwin
from tests.evolve.laboratory import data_set
from tests.people.evolving import QUESTION, run, until
from tests.people.terminal import Person
from tests.people.test_terminal import SIZES, review

LIST, ONE = "answer one  [Enter, q] back to the change", "[g] grant it  [n] deny it; you are asked why"


def ask(folder, name: str, kind: Kind, wanted: str, reason: str, *agents: str) -> None:
    """Let agents ask for something."""
    memory = open_workspace(folder).memory
    born = next(i for i in memory.individuals.values() if i.author)
    askings = tuple(
        Asking(
            agent=agent, child=born.id, ordinal=born.ordinal, reason=reason,
            expected=Expectation(log_perplexity=-0.05), evidence=(born.id,),
        )
        for agent in agents
    )  # fmt: skip
    memory.record(Request(id=name, kind=kind, wanted=wanted, askings=askings))


@pytest.fixture
def asked(folder):
    """A workspace with a change that waits, and three requests."""
    ask(folder, "file-optim.py", Kind.FILE, "optim.py", "the optimizer\x1b[2J wants a file", "Ada", "Alan")
    ask(folder, "package-einops", Kind.PACKAGE, "einops", "shorter code", "Barbara")
    ask(folder, "dataset-poems", Kind.DATASET, "poems [bold]by Poe", "more of \u202ethe same", "Claude")
    return folder


def requests(folder) -> dict[str, Request]:
    return open_workspace(folder).memory.requests


@pytest.mark.parametrize("size", SIZES)
def test_the_gate_says_that_requests_wait_and_lists_them_the_most_wanted_first(asked, size):
    person = review(asked, size=size)
    shown = person.sees(QUESTION, "3 requests of agents wait: press w.")
    assert "Not tested" in shown or "The page goes on" in shown
    person.types("w")
    shown = person.sees("3 requests of agents, the most wanted first", f"[1-3] {LIST}")
    rows = [line for line in shown.splitlines() if line[:1].isdigit() and line[1:3] == "  "]
    assert [row[0] for row in rows] == ["1", "2", "3"] and "optim.py" in rows[0]
    assert "asked by Ada, Alan: the optimizer [2J wants a file" in shown
    assert "poems [bold]by Poe; expected: -4.9 % perplexity" in shown
    assert b"\x1b[2J wants" not in person.all and "\u202e".encode() not in person.all
    person.types("7")
    person.sees("That key does nothing here.", LIST)
    person.types("\r")
    person.sees(QUESTION)
    person.types("q")
    assert person.leaves() == 0
    assert {r.state for r in requests(asked).values()} == {State.OPEN}


def test_each_is_granted_denied_or_answered_as_by_its_command(asked):
    person = review(asked)
    person.sees(QUESTION)
    for keys, *words in (
        ("w", "[1-3]"), ("1", ONE), ("g", "Enter grants optim.py"), ("\r", "Why? The agents"),
        ("tidy\r", "Noted: file-optim.py is granted.", f"[1-2] {LIST}"),
        ("2", "einops", ONE), ("n", "Why not?"), ("torch can\r", "package-einops is denied.", f"[1-1] {LIST}"),
        ("1", "poems", ONE), ("w", "What do you tell them?"), ("there are none\r", "poems is answered.", QUESTION),
    ):  # fmt: skip
        person.types(keys)
        person.sees(*words)
    person.types("w")
    person.sees("No request of an agent waits.", QUESTION)
    person.types("q")
    person.sees("undecided")
    assert person.leaves() == 0
    found = requests(asked)
    assert {name: (r.state, r.ruling.reason, r.ruling.by) for name, r in found.items()} == {
        "file-optim.py": (State.DONE, "tidy", "Eve <eve@example.org>"),
        "package-einops": (State.DENIED, "torch can", "Eve <eve@example.org>"),
        "dataset-poems": (State.ANSWERED, "there are none", "Eve <eve@example.org>"),
    }
    memory = open_workspace(asked).memory
    assert waiting(memory) and not answers.anything(asked), "the change waits on; the rulings are carried out"


def test_what_cannot_be_granted_is_said_and_the_request_stays_open(asked):
    person = review(asked)
    person.sees(QUESTION)
    for keys, *words in (
        ("w", "[1-3]"), ("1", ONE), ("g", "Enter grants"), ("torch.py\r", "Why?"),
        ("\r", "would stand in the way", ONE), ("q", "[1-3]"),
        ("2", "poems", ONE), ("g", "Which text"), ("/nowhere/poems.txt\r", "Why?"),
        ("\r", "there is no such file", ONE),
        ("g", "Which text"), ("\r", "Nothing was said.", ONE), ("q", "[1-3]"), ("q", QUESTION),
    ):  # fmt: skip
        person.types(keys)
        person.sees(*words)
    person.types("q")
    assert person.leaves() == 0
    assert {r.state for r in requests(asked).values()} == {State.OPEN} and not answers.anything(asked)


AT = {
    "the list": ["w"],
    "a request": ["w", "1"],
    "the reason of a grant": ["w", "1", "g", "\r"],
    "the reason of a denial": ["w", "1", "n"],
    "the words of an answer": ["w", "1", "w"],
}
"""Keys that lead to each prompt."""
WORDS = {"w": "[1-3]", "1": ONE, "g": "Enter grants", "\r": "Why?", "n": "Why not?"}


def standing_at(prompt: str, folder) -> Person:
    """A person at a prompt, half an answer typed where it asks for one."""
    person = review(folder)
    person.sees(QUESTION)
    for number, key in enumerate(AT[prompt]):
        person.types(key)
        person.sees("What do you tell them?" if number == 2 and key == "w" else WORDS[key])
    if len(AT[prompt]) > 2:
        person.types("half")
        person.sees("half")
    return person


@pytest.mark.parametrize("away", ["ctrl-c", "closed"])
@pytest.mark.parametrize("prompt", AT)
def test_who_walks_away_leaves_request_and_change_open(asked, prompt, away):
    person = standing_at(prompt, asked)
    if away == "closed":
        person.hangs_up()
    else:
        back = [("Nothing was said.", ONE), ("[1-3]",), (QUESTION,)]
        for words in back[-len(AT[prompt]) :]:
            person.types("\x03")
            person.sees(*words)
        person.types("\x03")
        assert person.leaves() == 0
    settle(asked, Screen(Console(file=io.StringIO())))
    assert {r.state for r in requests(asked).values()} == {State.OPEN}
    assert waiting(open_workspace(asked).memory)


def test_what_g_granted_in_a_run_is_there_for_its_later_children(clean_environment, tmp_path):
    folder, held = tmp_path / "r", tmp_path / "held"

    def hold(job) -> None:
        """The first trial after a change waits comes back when the person has granted the request."""
        if not held.exists() and folder.exists():
            memory = open_workspace(folder).memory
            if memory.begun and waiting(memory):
                held.touch()
                until(lambda: bool(ruled(folder)))

    def change(evolution) -> None:
        wish = wishing(ada=Wish(kind=Kind.FILE, wanted="optim.py", reason="tidier"))
        evolution.agents = {name: Asker(agent, wish, []) for name, agent in evolution.agents.items()}

    person = run(folder, data_set(tmp_path), generations=3, hold=hold, change=change)
    person.sees("press g")
    for keys, *words in (
        ("g", QUESTION, "1 request of agents waits: press w."),
        ("w", "[1-1]"), ("1", ONE), ("g", "Enter grants"), ("\r", "Why?"),
        ("\r", "Noted: file-optim.py is granted.", QUESTION), ("q", "Closing comparison"), ("", QUESTION),
    ):  # fmt: skip
        person.types(keys)
        person.sees(*words)
    person.types("q")
    assert person.leaves() == 0
    opened = open_workspace(folder)
    request = opened.memory.requests["file-optim.py"]
    assert request.state is State.DONE and request.ruling.by.startswith("Eve")
    born = [
        i for i in opened.memory.individuals.values() if i.ordinal > request.ruling.settled + 2 and i.author
    ]
    assert born and any(b"optim.py" in opened.lineage.files(i.commit)["genome.toml"] for i in born)


def test_what_was_answered_from_another_terminal_meanwhile_is_on_the_list_no_more(asked):
    person = review(asked)
    person.sees(QUESTION)
    assert darwin("requests", "deny", "file-optim.py", "-C", str(asked), cwd=asked).returncode == 0
    person.types("w")
    shown = person.sees("2 requests of agents, the most wanted first", f"[1-2] {LIST}")
    assert "optim.py" not in shown
    person.types("\x1b")
    person.sees(QUESTION, "2 requests of agents wait: press w.")
    person.types("q")
    assert person.leaves() == 0
