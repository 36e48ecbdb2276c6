"""What is granted is carried out and used by later children: files, budgets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from darwin.agents import fingerprint
from darwin.begin import ANCESTOR
from darwin.errors import UsageError
from darwin.gate import case
from darwin.genome import NEW_FILE, evolvable, extended, only_names_more
from darwin.loop import evolve
from darwin.memory.records import Outcome, Status
from darwin.memory.requests import Kind, State, Wish
from darwin.workspace import open_workspace
from tests.asking.conftest import wishing
from tests.people.test_everyday import darwin

OPTIM = Wish(kind=Kind.FILE, wanted="optim.py", reason="the optimizer deserves a file of its own")
LONGER = Wish(kind=Kind.BUDGET, wanted="x2", reason="deeper models need longer runs")


def writing(name: str, line: str):
    """Each agent that may write a file writes a line of its own into it."""

    def change(task, proposal):
        if name not in task.files:
            return proposal
        text = f"{task.files[name]}{line} = {task.child.replace('-', '_')!r}\n"
        return replace(proposal, files={**proposal.files, name: text})

    return change


def test_a_granted_file_is_written_by_later_children_and_may_merge(asking, tmp_path, monkeypatch, capsys):
    evolution, _ = asking(wishing(ada=OPTIM))
    evolve(evolution, 1)
    folder = tmp_path / "w"
    assert darwin(monkeypatch, "requests", "grant", "file", "--reason", "fine", "-C", folder) == 0
    assert "granted, because: fine: optim.py may be written" in capsys.readouterr().out
    assert darwin(monkeypatch, "requests", "deny", "file", "-C", folder) == 2, "it is granted"

    evolution, tasks = asking(writing("optim.py", "noted"))
    evolve(evolution, 2)
    assert tasks and all("optim.py" in task.files for task in tasks)
    lineage, people = evolution.workspace.lineage, evolution.memory.individuals
    users = [i for i in people.values() if "file-optim.py" in i.requests]
    assert users and {i.id for i in users} <= {i.id for i in people.values() if i.generation == 2}
    for user in users:
        files = lineage.files(user.commit)
        assert b"noted" in files["optim.py"] and "optim.py" in evolvable(files)
    assert darwin(monkeypatch, "requests", "show", "file", "-C", folder) == 0
    assert f"Used by {users[0].id}" in capsys.readouterr().out
    assert darwin(monkeypatch, "requests", "show", "file", "--json", "-C", folder) == 0
    assert json.loads(capsys.readouterr().out)["used_by"] == [i.id for i in users]

    user = next(i for i in users if i.status is Status.TRAINED)
    shown = case(evolution.memory, lineage, user).change
    assert not shown.objections and {"genome.toml", "optim.py"} <= {f.path for f in shown.files}


def test_only_what_was_granted_may_come_with_the_contract():
    base = {name: (ANCESTOR / name).read_bytes() for name in ("genome.toml", "model.py", "train.py")}
    two = extended(base, ["optim.py", "data.py"])
    assert two["optim.py"] == NEW_FILE and list(evolvable(two)) == [
        "model.py",
        "train.py",
        "optim.py",
        "data.py",
    ]
    assert extended(two, ["optim.py"]) == two
    assert fingerprint(evolvable(two)) == fingerprint(evolvable(base)), "no code, no other script"
    before, after = (files["genome.toml"].decode() for files in (base, two))
    assert only_names_more(before, after, {"optim.py", "data.py"})
    assert not only_names_more(before, after, {"optim.py"})
    assert not only_names_more(before, after.replace("context = 64", "context = 32"), {"optim.py", "data.py"})
    assert not only_names_more(before, after + "# more\n", {"optim.py", "data.py"})
    assert not only_names_more(before, after.replace("[data]", "[date]"), {"optim.py", "data.py"})
    odd = {**base, "genome.toml": base["genome.toml"].replace(b"files = [", b"'files' = [")}
    with pytest.raises(UsageError, match="Add it by hand"):
        extended(odd, ["optim.py"])


def test_a_granted_budget_holds_from_the_next_generation_and_compares_nothing_with_the_old_one(
    asking, tmp_path, monkeypatch, capsys
):
    evolution, _ = asking(wishing(alan=LONGER))
    evolve(evolution, 2)
    folder = tmp_path / "w"
    champion = evolution.memory.individuals[evolution.run.champion]
    assert champion.verdict.outcome is Outcome.BETTER
    lessons = {lesson.id for lesson in evolution.memory.lessons()}
    assert darwin(monkeypatch, "requests", "grant", "budget", "--use", "30s", "-C", folder) == 2
    assert darwin(monkeypatch, "requests", "grant", "budget", "--use", "50ktok", "-C", folder) == 0
    memory = open_workspace(folder).memory
    assert memory.run.budget == "20ktok" and memory.requests["budget-40ktok"].state is State.GRANTED

    evolution, _ = asking(wishing())
    evolve(evolution, 3)
    memory, run = evolution.memory, evolution.run
    assert (run.budget, run.budgets, run.tokens) == ("50ktok", ("20ktok",), 50_000)
    request = memory.requests["budget-40ktok"]
    assert request.state is State.DONE and "50ktok from generation 3 on, after 20ktok" in request.outcome
    born = [i for i in memory.individuals.values() if i.generation == 3 and i.operator == "mutation"]
    assert born and all("budget-40ktok" in i.requests for i in born if i.status is Status.TRAINED)
    for one in memory.individuals.values():
        assert {t.budget for t in one.trials} <= {"50ktok", "300ktok"}
        assert {t.budget for e in one.earlier for t in e.trials} <= {"20ktok", "120ktok"}
    for name in {*run.population.values(), "g000-base"}:
        assert memory.individuals[name].loss is not None
    kept = memory.individuals[champion.id].earlier[0]
    assert (kept.trials, kept.verdict) == (champion.trials, champion.verdict)
    judged = [i for i in memory.individuals.values() if i.verdict is not None]
    assert judged and all({t.budget for t in i.trials} & {"50ktok"} for i in judged)
    kept_ideas = {lesson.id.removesuffix(":hurts") for lesson in memory.lessons()}
    assert {id.removesuffix(":hurts") for id in lessons} <= kept_ideas, "what was learnt is kept"
    for command in (
        ("status",),
        ("log",),
        ("show", champion.id),
        ("trials",),
        ("report", "-o", folder / "r.html"),
    ):
        assert darwin(monkeypatch, *command, "-C", folder) == 0
    evolution, _ = asking(wishing())  # the same command, with the budget that it was begun with, goes on
    assert evolution.run.budget == "50ktok"


def test_a_run_that_was_killed_in_a_renewal_ends_as_an_undisturbed_one(asking, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    ends = []
    for name in ("whole", "killed"):
        evolution, _ = asking(wishing(alan=LONGER), name)
        evolve(evolution, 1)
        assert darwin(monkeypatch, "requests", "grant", "budget", "-C", tmp_path / name) == 0
        if name == "killed":
            for allowed in (0, 3, 8):
                evolution, _ = asking(wishing(), name)
                evolution.evaluate = stopping(evolution.evaluate, allowed, Killed)
                with pytest.raises(Killed):
                    evolve(evolution, 2)
        evolution, _ = asking(wishing(), name)
        evolve(evolution, 2)
        ends.append({i.id: (i.commit, i.loss, i.delta) for i in evolution.memory.individuals.values()})
    assert ends[0] == ends[1]


def stopping(evaluate, allowed: int, error: type[Exception]):
    left = [allowed]

    def evaluated(jobs):
        for pair in evaluate(jobs):
            if not left[0]:
                raise error
            left[0] -= 1
            yield pair

    return evaluated
