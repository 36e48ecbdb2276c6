"""An answer is carried out once, by who holds the workspace: never lost, never twice, never for what nobody saw."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import warnings
from pathlib import Path

import pytest

from darwin import answers, gate
from darwin.answers import Answer
from darwin.cli.review import settle
from darwin.errors import UsageError
from darwin.gate import waiting
from darwin.loop import evolve
from darwin.memory import memory as memory_module
from darwin.memory import store as store_module
from darwin.memory.records import Choice
from darwin.reviewers import Policy
from darwin.screen import Screen
from darwin.workspace import locked, open_workspace
from tests.evolve.laboratory import data_set, start

EVE = "Eve <eve@example.org>"


def answer(opened, contender, choice=Choice.MERGE, reason="", **further) -> Answer:
    return Answer(
        choice=choice, by=EVE, reason=reason, tree=contender.tree, main=opened.memory.run.main, **further
    )


def merges(opened) -> list[str]:
    """The trees of main, newest first."""
    return opened.lineage.repo.git.log("--first-parent", "--format=%T", "main").splitlines()


def test_of_two_gates_at_once_the_first_answer_counts(folder, opened):
    contender = waiting(opened.memory)[-1]
    answers.post(folder, contender.id, answer(opened, contender, Choice.REJECT, "no"))
    with pytest.raises(UsageError, match=r"answered a moment ago from another terminal \(reject by Eve\)"):
        answers.post(folder, contender.id, answer(opened, contender))
    assert not settle(folder, Screen())
    after = open_workspace(folder)
    assert after.memory.decisions[contender.id].choice is Choice.REJECT
    assert len(merges(after)) == 1


def test_an_answer_that_comes_after_the_decision_changes_nothing(folder, opened, capsys):
    contender = waiting(opened.memory)[-1]
    for choice in (Choice.REJECT, Choice.MERGE):
        answers.post(folder, contender.id, answer(opened, contender, choice))
        settle(folder, Screen())
    assert "was decided before by Eve (reject); the later answer (merge) changes nothing" in " ".join(
        capsys.readouterr().out.split()
    )
    assert len(merges(open_workspace(folder))) == 1


def test_while_a_run_holds_the_workspace_an_answer_waits_for_it(folder, opened, capsys):
    contender = waiting(opened.memory)[-1]
    with locked(folder):
        answers.post(folder, contender.id, answer(opened, contender))
        assert not settle(folder, Screen())
    assert "carries it out at its next step" in " ".join(capsys.readouterr().out.split())
    assert list(answers.posted(folder)[0]) == [contender.id]
    settle(folder, Screen())
    assert answers.posted(folder) == ({}, [])
    assert merges(open_workspace(folder))[0] == contender.tree


@pytest.mark.parametrize("choice", [Choice.MERGE, Choice.EDIT])
def test_killed_before_any_write_the_answer_is_carried_out_once_in_the_end(finished, tmp_path, choice):
    fuse, killed = 0, True
    while killed:
        fuse += 1
        folder = Path(shutil.copytree(finished, tmp_path / str(fuse)))
        opened = open_workspace(folder)
        contender = waiting(opened.memory)[-1]
        text = opened.lineage.files(contender.commit)["train.py"].decode() + "# mine\n"
        answers.post(
            folder, contender.id, answer(opened, contender, choice, "good", files={"train.py": text})
        )
        killed = _killed(folder, fuse)
        settle(folder, Screen())
        after = open_workspace(folder)
        assert answers.posted(folder) == ({}, [])
        decision = after.memory.decisions[contender.id]
        assert (decision.choice, decision.reason) == (choice, "good")
        assert len(merges(after)) == 1 + (choice is Choice.MERGE)
        assert sum(i.operator == "edit" for i in after.memory.individuals.values()) == (choice is Choice.EDIT)
        assert after.lineage.repo.git.status("--porcelain") == ""
    assert fuse > 4


def _killed(folder, fuse: int) -> bool:
    """Carry the answers out in a fork that kills itself before its n-th write; False if it lived."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == signal.SIGKILL
    left = [fuse]

    def burning(function):
        def burn(*arguments):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return burn

    memory_module.move_refs = burning(memory_module.move_refs)
    store_module.write_atomically = burning(store_module.write_atomically)
    answers.discard = burning(answers.discard)
    settle(folder, Screen())
    os._exit(0)


def test_a_torn_answer_is_put_aside_and_said_once(folder, opened, capsys):
    (folder / answers.FOLDER).mkdir(exist_ok=True)
    (folder / answers.FOLDER / "g001-ada-1.json").write_text("{")
    assert settle(folder, Screen())
    assert not settle(folder, Screen())
    assert capsys.readouterr().out.count("no answer that can be read") == 1


def test_a_stale_approval_merges_nothing_and_is_judged_anew_and_shown_again(folder, opened):
    second = waiting(opened.memory)[-1]
    trained = [i for i in opened.memory.individuals.values() if i.parents and i.status == "trained"]
    first = next(i for i in trained if i.tree != second.tree).model_copy(update={"verdict": second.verdict})
    opened.memory.record(first)
    old = answer(opened, first)
    answers.post(folder, second.id, answer(opened, second))
    settle(folder, Screen())
    answers.post(folder, first.id, old)
    settle(folder, Screen())
    after = open_workspace(folder)
    assert after.memory.decisions[first.id].choice is Choice.STALE
    assert merges(after)[0] == second.tree and len(merges(after)) == 2
    assert [i.id for i in gate.unjudged(after.memory)] == [first.id]

    evolution = start(folder, data_set(folder.parent), approve="defer")
    evolve(evolution, 3)
    verdict = evolution.memory.individuals[first.id].verdict
    assert verdict.against == second.id
    assert (first.id in [c.id for c in waiting(evolution.memory)]) == (verdict.outcome == "better")
    assert len(merges(evolution.workspace)) == 2
    assert gate.unjudged(evolution.memory) == []


def test_an_approval_of_another_tree_or_another_main_than_what_would_merge_is_stale(folder, opened):
    contender = waiting(opened.memory)[-1]
    for wrong in ({"tree": opened.memory.resolve("base").tree}, {"main": contender.commit}):
        said = answer(opened, contender).model_copy(update=wrong)
        decision = gate.decide(opened.memory, opened.lineage, contender, said, opened.memory.run)
        assert decision.choice is Choice.STALE
    assert len(merges(opened)) == 1


def test_a_commit_of_somebody_on_main_stops_the_merge(folder, opened):
    contender = waiting(opened.memory)[-1]
    opened.lineage.repo.git.update_ref("refs/heads/main", contender.commit)
    with pytest.raises(UsageError, match=r"main was moved to .* by somebody else"):
        gate.decide(opened.memory, opened.lineage, contender, answer(opened, contender), opened.memory.run)
    settle(folder, Screen())  # an agent's commit: main goes back to what the records say
    after = open_workspace(folder)
    assert after.lineage.repo.git.rev_parse("main") == after.memory.run.main
    assert contender.id not in [i for i, d in after.memory.decisions.items() if d.choice is Choice.MERGE]


class Answering(Screen):
    """Posts answers from another terminal while the run goes on."""

    def __init__(self, folder, choice, **further):
        super().__init__()
        self.folder, self.choice, self.further, self.done = folder, choice, further, None

    def verdict(self, contender):
        super().verdict(contender)
        if self.done is None and contender.verdict.outcome == "better":
            opened = open_workspace(self.folder)
            answers.post(
                self.folder, contender.id, answer(opened, contender, self.choice, "quick", **self.further)
            )
            self.done = contender


@pytest.fixture
def data(clean_environment, tmp_path):
    return data_set(tmp_path)


def test_a_run_carries_out_what_is_answered_meanwhile_and_goes_on(data, tmp_path):
    folder = tmp_path / "r"
    screen = Answering(folder, Choice.MERGE)
    evolution = start(folder, data, screen, agents="rules:4", approve="defer")
    evolve(evolution, 3)
    assert evolution.run.generation == 3
    assert screen.done.tree in merges(evolution.workspace)
    assert evolution.memory.decisions[screen.done.id].reason == "quick"
    others = [
        i for i in evolution.memory.individuals.values() if i.verdict and i.verdict.against == screen.done.id
    ]
    assert all(c.verdict.against == screen.done.id for c in waiting(evolution.memory))
    assert others or not waiting(evolution.memory)


def lines_that(worsen: bool) -> str:
    """Comments that the laboratory dislikes, or likes: each new line shifts its loss by an amount of its own."""
    lines = [f"# mine {n}" for n in range(300)]
    worth = {n: random.Random(hashlib.sha256(n.encode()).hexdigest()).uniform(-0.03, 0.02) for n in lines}
    return "".join(
        f"{n}\n" for n in sorted(lines, key=lambda n: worth[n], reverse=worsen)[: 30 if worsen else 3]
    )


def edited_in_a_run(data, folder, worsens: bool):
    """A run in which the first better change is edited meanwhile, for better or worse."""

    class Editing(Answering):
        def verdict(self, contender):
            if self.done is None:
                files = open_workspace(folder).lineage.files(contender.commit)
                text = files["train.py"].decode() + lines_that(worsens)
                self.further = {"files": {"train.py": text}}
            super().verdict(contender)

    screen = Editing(folder, Choice.EDIT)
    evolution = start(folder, data, screen, agents="rules:4", approve="defer")
    evolve(evolution, 2)
    edited = evolution.memory.decisions[screen.done.id].edited
    return evolution, evolution.memory.individuals[edited]


def test_a_better_edit_is_trained_and_judged_and_merges_as_it_stands(data, tmp_path):
    evolution, edited = edited_in_a_run(data, tmp_path / "r", worsens=False)
    assert edited.status == "trained" and edited.verdict.outcome == "better"
    workspace = evolution.workspace
    assert gate.case(evolution.memory, workspace.lineage, edited).doubts == ()
    gate.decide(evolution.memory, workspace.lineage, edited, answer(workspace, edited), evolution.run)
    assert merges(workspace)[0] == edited.tree
    assert lines_that(False).encode() in (workspace.folder / "train.py").read_bytes()


def test_a_worse_edit_waits_and_merges_only_by_a_second_yes(data, tmp_path):
    evolution, edited = edited_in_a_run(data, tmp_path / "r", worsens=True)
    workspace, memory = evolution.workspace, evolution.memory
    assert edited.verdict.outcome == "worse" and edited.id in [c.id for c in waiting(memory)]
    assert "worse against main" in gate.case(memory, workspace.lineage, edited).doubts[0]
    with pytest.raises(UsageError, match="takes a second, explicit yes"):
        gate.decide(memory, workspace.lineage, edited, answer(workspace, edited), evolution.run)
    assert len(merges(workspace)) == 1
    decision = gate.decide(
        memory, workspace.lineage, edited, answer(workspace, edited, despite=True), evolution.run
    )
    assert decision.despite and merges(workspace)[0] == edited.tree
    assert evolution.run.champion is None


def test_a_merge_is_taken_back_to_the_script_from_before(folder, opened):
    contender = waiting(opened.memory)[-1]
    for choice, reason in ((Choice.MERGE, "good"), (Choice.REVERT, "not so good")):
        now = open_workspace(folder)
        answers.post(folder, contender.id, answer(now, contender, choice, reason))
        settle(folder, Screen())
    after = open_workspace(folder)
    base, git = after.memory.resolve("base"), after.lineage.repo.git
    assert merges(after) == [base.tree, contender.tree, base.tree]
    assert git.rev_parse("main^1", "main^2").split()[1] == base.commit
    assert (folder / "train.py").read_bytes() == after.lineage.files(base.commit)["train.py"]
    decision = after.memory.decisions[contender.id]
    assert (decision.choice, decision.reason, decision.previous.choice) == (
        Choice.REVERT,
        "not so good",
        Choice.MERGE,
    )
    assert (after.memory.run.incumbent, after.memory.run.champion) == (base.id, None)
    assert contender.id not in [c.id for c in waiting(after.memory)]


def test_the_policy_merges_what_keeps_to_its_thresholds(data, tmp_path):
    kept = start(tmp_path / "kept", data, agents="rules:4", approve="policy", least_gain=0.1)
    evolve(kept, 2)
    merged = [d for d in kept.memory.decisions.values() if d.choice is Choice.MERGE]
    assert [d.id for d in merged] == [kept.run.incumbent] and "policy of darwin.toml" in merged[0].reason
    assert kept.memory.individuals[kept.run.incumbent].larger is not None


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        ((50.0, 0.98, 80), "less than least_gain = 50"),
        ((0.1, 0.99999, 80), "less than confidence = 0.99999"),
        ((0.1, 0.98, 0), "more than most_added = 0"),
    ],
)
def test_the_policy_leaves_the_rest_to_a_person(opened, thresholds, words):
    contender = waiting(opened.memory)[-1]
    said = Policy(*thresholds).review(gate.case(opened.memory, opened.lineage, contender))
    assert said.choice is Choice.DEFER and words in said.reason


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"larger": None}, "not been tried at the larger budget"), ({"verdict": None}, "not proven better")],
)
def test_the_policy_merges_nothing_that_is_not_known_at_both_budgets(opened, changed, words):
    contender = waiting(opened.memory)[-1].model_copy(update=changed)
    said = Policy(0.1, 0.9, 99).review(gate.case(opened.memory, opened.lineage, contender))
    assert said.choice is Choice.DEFER and words in said.reason
