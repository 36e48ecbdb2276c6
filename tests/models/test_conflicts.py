"""A merge conflict in crossover is given to an agent that can ask a model; the child has two parents."""

from __future__ import annotations

from darwin.agents.roles import size
from darwin.births import bear
from darwin.loop import evolve
from darwin.merge import collisions
from darwin.variation import Birth
from tests.models.brain import Brain, role_of, texts
from tests.models.scripted import ScriptedServer

BASE = {"a.py": b"x = 1\ny = 2\nz = 3\n", "b.py": b"p = 1\n"}


def test_lines_that_both_changed_are_marked_and_nothing_else():
    ours, theirs = (
        {**BASE, "a.py": b"x = 5\ny = 2\nz = 3\n"},
        {**BASE, "a.py": b"x = 6\ny = 2\nz = 3\n", "b.py": b"p = 2\n"},
    )
    found = collisions(ours, BASE, theirs)
    assert b"<<<<<<<" in found["a.py"] and b"x = 5" in found["a.py"] and b"x = 6" in found["a.py"]
    assert found["b.py"] == b"p = 2\n"
    assert collisions(ours, BASE, {**BASE, "b.py": b"p = 2\n"}) is None
    assert collisions(ours, BASE, {"b.py": b"p = 2\n"}) is None


def test_an_agent_resolves_a_conflict_and_the_child_has_two_parents(models):
    with ScriptedServer(Brain(99)) as server, models(server, agents="openai:2") as run:
        evolution = run.evolution
        evolve(evolution, 1)
        people = list(evolution.memory.individuals.values())
        one, two = people[1], people[2]
        assert one.parents == two.parents == (people[0].id,), "both set the warm-up of the base"
        birth = Birth("g002-ada-1", 3, 2, "Ada", "Alan", one.id, 5, partners=(two.id,))
        (child,) = bear(evolution, [birth])
        assert child.parents == (one.id, two.id) and child.operator == "crossover"
        assert child == evolution.memory.individuals[birth.id], "it is on record"
        git = evolution.workspace.lineage.repo.git
        parents = git.log("-1", "--format=%P", f"refs/darwin/individuals/{child.id}").split()
        assert parents == [one.commit, two.commit]
        assert f"{birth.id:14} Ada asks m to merge {two.id}." in run.said
        assert child.model == "m" and child.usage.calls == 1
        files = evolution.workspace.lineage.files(child.commit)
        assert b"resolved = 1" in files["train.py"] and b"<<<<<<<" not in files["train.py"]
        assert [role_of(texts(b)[0]) for b in server.requests][-1] == "resolve"


def test_markers_that_are_left_are_told_and_after_three_tries_there_is_no_merge(models):
    brain = Brain(99)

    def script(body):
        if role_of(texts(body)[0]) != "resolve":
            return brain(body)
        return '{"diagnosis": "x"}\n### train.py\n```python\n<<<<<<< ours\nx = 1\n>>>>>>> theirs\n```\n'

    with ScriptedServer(script) as server, models(server, agents="openai:2") as run:
        evolution = run.evolution
        evolve(evolution, 1)
        one, two = list(evolution.memory.individuals.values())[1:3]
        before = len(server.requests)
        birth = Birth("g002-ada-1", 3, 2, "Ada", "Alan", one.id, 5, partners=(two.id,))
        (child,) = bear(evolution, [birth])
        asked = server.requests[before:]
        assert [role_of(texts(b)[0]) for b in asked] == ["resolve"] * 3 + ["researcher"]
        assert "still has a conflict marker" in asked[2]["messages"][1]["content"]
        assert max(size(b["messages"]) for b in asked) <= 16_000
        assert run.said.count("Ada's answer cannot be used: train.py still has a conflict marker.") == 3
        assert child.operator == "mutation" and child.parents == (one.id,), "it is rewritten instead"
