"""While somebody else has moved ``main``, what people decided waits: nothing merges, and nothing is lost."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from darwin import answers, gate
from darwin.answers import Answer
from darwin.gate import waiting
from darwin.lineage import MAIN
from darwin.loop import evolve
from darwin.memory.records import Choice
from darwin.screen import Screen
from darwin.workspace import open_workspace
from tests.command import darwin
from tests.evolve.laboratory import data_set, start


def approval(folder, contender) -> Answer:
    main = open_workspace(folder).memory.run.main
    return Answer(
        choice=Choice.MERGE, by="Eve <eve@example.org>", reason="good", tree=contender.tree, main=main
    )


def commit_on_main(folder) -> str:
    """Somebody's own commit at the head of main; its id."""
    git = open_workspace(folder).lineage.repo.git
    mine = git.commit_tree("-p", MAIN, "-m", "mine", f"{MAIN}^{{tree}}")
    git.update_ref(MAIN, mine)
    return mine


def give_back(folder) -> None:
    """Do as the message says, for files that were never checked out."""
    opened = open_workspace(folder)
    opened.lineage.repo.git.update_ref(MAIN, opened.memory.run.main)


def head(folder) -> str:
    return open_workspace(folder).lineage.repo.git.rev_parse(MAIN)


class Moving(Screen):
    """Somebody commits to main when the first change is better, approved or not, and gives it back later or never."""

    def __init__(self, folder, *, approves: bool, back_in: int | None) -> None:
        super().__init__(Console(file=io.StringIO(), width=400))
        self.folder, self.approves, self.back_in = folder, approves, back_in
        self.contender, self.mine = None, None

    def verdict(self, contender):
        super().verdict(contender)
        if self.contender is None and contender.verdict.outcome == "better":
            self.contender = contender
            if self.approves:
                answers.post(self.folder, contender.id, approval(self.folder, contender))
            self.mine = commit_on_main(self.folder)

    def generation(self, number, memory):
        super().generation(number, memory)
        if number == self.back_in:
            assert head(self.folder) == self.mine, "what somebody wrote was moved away from"
            assert answers.answered(self.folder) == {self.contender.id}
            give_back(self.folder)

    @property
    def said(self) -> str:
        return self.console.file.getvalue()


@pytest.fixture
def data(clean_environment, tmp_path):
    return data_set(tmp_path)


def test_an_approval_waits_until_main_is_back_and_is_carried_out_then(data, tmp_path):
    folder = tmp_path / "r"
    screen = Moving(folder, approves=True, back_in=3)
    evolution = start(folder, data, screen, agents="rules:4", approve="defer")
    evolve(evolution, 3)
    decision = evolution.memory.decisions[screen.contender.id]
    assert (decision.choice, decision.reason) == (Choice.MERGE, "good")
    assert screen.said.count("main was moved to") == 1 and "reset --keep" in screen.said
    assert head(folder) == evolution.run.main == decision.merge_commit and not answers.answered(folder)


def test_a_run_goes_on_to_its_end_and_the_approval_waits_for_the_next_command(data, tmp_path):
    folder = tmp_path / "r"
    screen = Moving(folder, approves=True, back_in=None)
    evolution = start(folder, data, screen, agents="rules:4", approve="defer")
    evolve(evolution, 2)
    assert evolution.run.target is None and evolution.run.comparison is not None
    assert head(folder) == screen.mine and answers.answered(folder) == {screen.contender.id}
    refused = darwin("review", "-C", str(folder), cwd=tmp_path)
    assert refused.returncode == 2 and "main holds a commit that darwin did not make" in refused.stderr
    assert answers.answered(folder) == {screen.contender.id}
    give_back(folder)
    done = darwin("review", "-C", str(folder), cwd=tmp_path)
    assert done.returncode == 0 and "is merged into main by Eve." in done.stdout
    assert open_workspace(folder).memory.decisions[screen.contender.id].choice is Choice.MERGE


def test_auto_approval_that_cannot_merge_ends_no_run_and_leaves_the_change_waiting(data, tmp_path):
    folder = tmp_path / "r"
    screen = Moving(folder, approves=False, back_in=None)
    evolution = start(folder, data, screen, agents="rules:4", approve="auto")
    evolve(evolution, 2)
    assert evolution.run.generation == 2 and evolution.run.comparison is not None
    assert head(folder) == screen.mine and waiting(evolution.memory)
    assert screen.said.count("main was moved to") == 1


def test_of_two_approvals_that_waited_the_second_is_stale_and_judged_anew(folder, opened):
    first = waiting(opened.memory)[-1]
    trained = [i for i in opened.memory.individuals.values() if i.parents and i.status == "trained"]
    second = next(i for i in trained if i.tree != first.tree).model_copy(update={"verdict": first.verdict})
    opened.memory.record(second)
    before = opened.memory.run
    for contender in (first, second):
        answers.post(folder, contender.id, approval(folder, contender))
    commit_on_main(folder)
    done, refused, kept = gate.carry_out(opened.memory, opened.lineage, folder, lambda: opened.memory.run)
    assert (done, refused) == ([], []) and kept.startswith("main was moved to")
    assert answers.answered(folder) == {first.id, second.id} and opened.memory.run == before
    give_back(folder)
    done, refused, kept = gate.carry_out(opened.memory, opened.lineage, folder, lambda: opened.memory.run)
    assert [d.choice for _, d in done] == [Choice.MERGE, Choice.STALE] and not refused and not kept
    assert answers.answered(folder) == set() and opened.memory.run.incumbent == first.id
