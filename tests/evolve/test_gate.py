"""``main`` moves only by a decision, and the default decision is none."""

from __future__ import annotations

import random

import pytest

from darwin import gate
from darwin.agents.inside.rules import TEMPERAMENTS, drawn
from darwin.answers import Answer
from darwin.gate import waiting
from darwin.loop import evolve
from darwin.memory.feedback import rejected
from darwin.memory.lessons import ideas
from darwin.memory.records import Choice
from tests.command import darwin
from tests.evolve.laboratory import start

EVE = "Eve <eve@example.org>"


@pytest.fixture
def deferred(data, tmp_path):
    evolution = start(tmp_path / "w", data, agents="rules:4", approve="defer")
    evolve(evolution, 2)
    return evolution


def decide(evolution, choice: Choice, reason: str = ""):
    contender = waiting(evolution.memory)[-1]
    lineage = evolution.workspace.lineage
    return contender, gate.decide(
        evolution.memory, lineage, contender, Answer(choice=choice, by=EVE, reason=reason), evolution.run
    )


def test_an_approval_is_a_merge_by_the_person_with_exactly_the_contenders_tree(deferred):
    contender, decision = decide(deferred, Choice.MERGE, "Fixes: nothing\nbut faster")
    git = deferred.workspace.lineage.repo.git
    assert git.rev_parse("main") == decision.merge_commit
    assert git.log("-1", "--format=%an <%ae>", "main") == EVE
    assert git.rev_parse("main^1", "main^2").split() == [deferred.base.commit, contender.commit]
    assert git.rev_parse("main^{tree}") == contender.tree
    assert git.status("--porcelain") == ""
    trailers = git.log("-1", "--format=%(trailers:only,unfold)", "main").split("\n")
    assert [t for t in trailers if t] == [
        "Darwin-Operator: merge",
        f"Darwin-Generation: {contender.generation}",
    ]


def test_a_rejection_leaves_main_and_is_kept_with_its_reason(deferred):
    before = deferred.run.main
    contender, _ = decide(deferred, Choice.REJECT, "too slow")
    assert deferred.run.main == before
    assert contender not in waiting(deferred.memory)
    assert deferred.run.champion != contender.id
    attempts = {a.child: a for card in deferred.run.agents for a in deferred.memory.agent(card).attempts}
    told = attempts[contender.id if contender.author else contender.parents[0]]
    assert (told.decision, told.reason) == (Choice.REJECT, "too slow")


class Spy:
    """An agent that notes its tasks."""

    def __init__(self, agent, tasks):
        self.name, self.kind, self.temperament = agent.name, agent.kind, agent.temperament
        self._agent, self._tasks = agent, tasks

    def propose(self, task):
        self._tasks.append(task)
        return self._agent.propose(task)


def test_a_rejection_reaches_every_next_task_and_its_reason_the_author(deferred, data, tmp_path):
    contender, _ = decide(deferred, Choice.REJECT, "too slow")
    evolution, tasks = start(tmp_path / "w", data, approve="defer"), []
    evolution.agents = {name: Spy(agent, tasks) for name, agent in evolution.agents.items()}
    evolve(evolution, 3)
    born = [
        i for i in evolution.memory.individuals.values() if i.generation == 3 and i.operator == "mutation"
    ]
    assert born and {t.agent for t in tasks} == {i.author for i in born}
    for task in tasks:
        assert all(task.rejected[key] == 1 for key in ideas(contender.techniques, contender.settings))
        told = {a.child: a.reason for a in task.own.attempts}
        assert (told.get(contender.id) == "too slow") == (task.agent == contender.author)


def test_a_merge_taken_back_is_told_as_a_rejection_is(deferred, data, tmp_path):
    contender, _ = decide(deferred, Choice.MERGE)
    taken = darwin("revert", "main", "--reason", "breaks on two GPUs", "-C", "w", cwd=tmp_path)
    assert taken.returncode == 0 and "is taken back by Eve." in taken.stdout
    evolution, tasks = start(tmp_path / "w", data, approve="defer"), []
    evolution.agents = {name: Spy(agent, tasks) for name, agent in evolution.agents.items()}
    evolve(evolution, 3)
    for task in tasks:
        assert all(task.rejected[key] == 1 for key in ideas(contender.techniques, contender.settings))
    told = {a.child: (a.decision, a.reason) for task in tasks for a in task.own.attempts}
    assert told[contender.id] == (Choice.REVERT, "breaks on two GPUs")


def test_an_idea_that_people_turned_down_is_drawn_less_often():
    idea = {"key": "technique:muon", "family": "optimizer"}
    belief = {"short": -0.1, "short_sd": 0.0, "long": -0.1, "long_sd": 0.0, "mfu": 0.0, "mfu_sd": 0.0}
    task = {"aim": "perplexity", "beliefs": {"technique:muon": belief}, "own": {}}
    promises = [
        drawn(idea, {**task, "rejected": {"technique:muon": n}}, TEMPERAMENTS["bold"], random.Random(1))
        for n in (0, 1, 2)
    ]
    assert promises[0] < 4 * promises[1] < 16 * promises[2] < 0


def test_a_decision_is_told_from_the_next_birth_on_and_to_none_before(deferred):
    contender, decision = decide(deferred, Choice.REJECT)
    memory = deferred.memory
    assert rejected(memory.individuals, memory.decisions, decision.settled) == {}
    told = rejected(memory.individuals, memory.decisions, decision.settled + 1)
    assert set(told) >= set(ideas(contender.techniques, contender.settings))
