"""What a person tells the agents is in the tasks it is meant for, from the next birth on, until it is withdrawn."""

from __future__ import annotations

import json

from darwin import advice
from darwin.loop import evolve
from darwin.workspace import locked, open_workspace
from tests.evolve.laboratory import data_set, start
from tests.evolve.test_gate import Spy
from tests.people.test_everyday import darwin


def told(folder, monkeypatch, capsys) -> list[dict]:
    """What holds, as the command lists it."""
    capsys.readouterr()
    assert darwin(monkeypatch, "tell", "--json", "-C", folder) == 0
    return json.loads(capsys.readouterr().out)


def test_advice_is_in_the_tasks_of_those_it_is_for_until_withdrawn(folder, monkeypatch, capsys):
    assert darwin(monkeypatch, "tell", "Keep it\x1b[2J small.", "-C", folder) == 0
    assert darwin(monkeypatch, "tell", "ada", "Try fewer layers.", "-C", folder) == 0
    assert "Told Ada from now on" in capsys.readouterr().out
    held = told(folder, monkeypatch, capsys)
    assert [(one["agent"], one["text"]) for one in held] == [
        (None, "Keep it [2J small."),
        ("Ada", "Try fewer layers."),
    ]
    assert held[0]["by"] == "Eve <eve@example.org>"

    evolution, tasks = start(folder, data_set(folder.parent), approve="defer"), []
    evolution.agents = {name: Spy(agent, tasks) for name, agent in evolution.agents.items()}
    evolve(evolution, 5)
    for task in tasks:
        assert task.advice == ("Keep it [2J small.", *(["Try fewer layers."] if task.agent == "Ada" else []))
    assert {task.agent for task in tasks} == set(evolution.run.population)

    assert darwin(monkeypatch, "tell", "--withdraw", held[0]["id"], "-C", folder) == 0
    assert darwin(monkeypatch, "tell", "--withdraw", held[0]["id"], "-C", folder) == 2
    assert [one["text"] for one in told(folder, monkeypatch, capsys)] == ["Try fewer layers."]
    run = open_workspace(folder).memory.run
    assert [one.text for one in advice.holding(run, "Alan", run.settled + 1)] == []
    assert [one.text for one in advice.holding(run, "Alan", run.settled)] == ["Keep it [2J small."]


def test_while_a_run_holds_the_workspace_advice_waits_and_is_taken_up_once(folder, monkeypatch, capsys):
    with locked(folder):
        assert darwin(monkeypatch, "tell", "Later.", "-C", folder) == 0
    evolution = start(folder, data_set(folder.parent), approve="defer")
    for _ in range(2):
        advice.take_up(evolution.memory, folder, evolution.advanced)
    assert [one.text for one in evolution.run.advice] == ["Later."]
    assert [one.text for one in open_workspace(folder).memory.run.advice] == ["Later."]


def test_an_agent_that_is_not_there_is_named(folder, monkeypatch, capsys):
    assert darwin(monkeypatch, "tell", "Nobody", "x", "-C", folder) == 2
    assert "There is no agent Nobody. There are Ada" in " ".join(capsys.readouterr().err.split())
