"""``main`` moves only by a decision, and the default decision is none."""

from __future__ import annotations

import pytest
from rich.console import Console

from darwin import gate
from darwin.errors import UsageError
from darwin.gate import Answer, waiting
from darwin.loop import evolve
from darwin.memory.records import Choice
from darwin.reviewers import Terminal
from darwin.screen import Screen
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
        evolution.memory, lineage, contender, Answer(choice, EVE, reason), evolution.run
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


def test_a_stale_approval_is_refused(deferred):
    first = waiting(deferred.memory)[-1]
    decide(deferred, Choice.MERGE)
    with pytest.raises(UsageError, match="was judged against g000-base"):
        gate.decide(
            deferred.memory, deferred.workspace.lineage, first, Answer(Choice.MERGE, EVE), deferred.run
        )


@pytest.mark.parametrize(
    ("keys", "choice", "reason"),
    [
        (["y", "good"], Choice.MERGE, "good"),
        (["n", "bad \x1b[31m idea"], Choice.REJECT, "bad [31m idea"),
        ([""], Choice.DEFER, ""),
        (["what?", "yes", ""], Choice.MERGE, ""),
        ([EOFError], Choice.DEFER, ""),
        ([KeyboardInterrupt], Choice.DEFER, ""),
        (["y", KeyboardInterrupt], Choice.DEFER, ""),
    ],
)
def test_the_terminal_takes_enter_and_interruption_for_later(deferred, monkeypatch, keys, choice, reason):
    left = list(keys)

    def answer(self, *_):
        key = left.pop(0)
        if isinstance(key, str):
            return key
        raise key

    monkeypatch.setattr(Console, "input", answer)
    screen = Screen(Console(width=80, record=True))
    contender = waiting(deferred.memory)[-1]
    case = gate.case(deferred.memory, deferred.workspace.lineage, contender)
    assert Terminal(screen, EVE).review(case) == Answer(choice, EVE, reason)
    shown = screen.console.export_text()
    assert contender.id in shown and "diff --git" in shown and "Hypothesis" in shown
