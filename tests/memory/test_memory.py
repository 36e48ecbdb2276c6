"""Records are true in git first, and the JSON files follow."""

import json
import subprocess
from pathlib import Path

import pytest
from git import Repo
from hypothesis import given
from hypothesis import strategies as st

from darwin.memory import Memory, MemoryFault
from darwin.memory.notes import RECORDS, commit_text, store_object, store_tree
from darwin.memory.records import (
    AgentCard,
    Choice,
    Decision,
    Individual,
    Outcome,
    Run,
    Status,
    Trial,
    TrialStatus,
    Verdict,
)

WHO = "Ada <ada@agents.invalid> 1735689600 +0000"


def commit(repo: Repo, text: str) -> tuple[str, str]:
    tree = store_tree(repo, {"train.py": ("100644", store_object(repo, "blob", text.encode()))})
    return store_object(repo, "commit", commit_text(tree, (), WHO, WHO, text)), tree


def individual(repo: Repo, number: int, **changes) -> Individual:
    oid, tree = commit(repo, f"x = {number}")
    fields = {
        "id": f"g{number:03d}-ada-1",
        "ordinal": number,
        "generation": number,
        "commit": oid,
        "tree": tree,
        "code": str(number),
        "operator": "mutation",
    }
    return Individual(**{**fields, **changes})


def run(main: str) -> Run:
    return Run(
        seed=1,
        agents=(AgentCard(name="Ada", kind="rules", temperament="bold"),),
        budget="1ktok",
        tokens=1000,
        batch=2,
        device="cpu",
        dataset="d",
        dataset_name="n",
        torch="2",
        peak_flops=1e9,
        population={"Ada": "g000-ada-1"},
        main=main,
        incumbent="g000-ada-1",
    )


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.init(tmp_path / "w")


@pytest.fixture
def memory(repo: Repo, tmp_path: Path) -> Memory:
    return Memory(repo, tmp_path / "memory")


def test_a_record_is_a_git_note_and_a_json_file_that_say_the_same(repo, memory, tmp_path):
    one = individual(repo, 0)
    memory.record(one, refs={"refs/darwin/individuals/g000-ada-1": one.commit})

    note = repo.git.notes("--ref=darwin-records", "show", one.commit)
    file = (tmp_path / "memory/individuals/g000-ada-1.json").read_text()
    assert json.loads(note) == json.loads(file)
    assert json.loads(note)["schema"] == 1
    assert repo.git.rev_parse("refs/darwin/individuals/g000-ada-1") == one.commit


def test_what_was_recorded_is_read_back_in_order_of_birth(repo, memory, tmp_path):
    people = [individual(repo, n) for n in (2, 0, 1)]
    memory.record(*people, run(people[1].commit))

    again = Memory(repo, tmp_path / "memory")
    assert list(again.individuals) == ["g000-ada-1", "g001-ada-1", "g002-ada-1"]
    assert list(again.individuals.values()) == sorted(people, key=lambda i: i.ordinal)
    assert again.run == memory.run


def test_a_later_record_replaces_the_earlier_one_and_keeps_its_neighbours(repo, memory, tmp_path):
    people = [individual(repo, n) for n in range(20)]
    memory.record(*people)
    memory.record(people[7].model_copy(update={"status": Status.TRAINED}))

    again = Memory(repo, tmp_path / "memory")
    assert again.individuals["g007-ada-1"].status is Status.TRAINED
    assert len(again.individuals) == 20


def test_stock_git_reads_the_notes_and_finds_the_repository_sound(repo, memory):
    people = [individual(repo, n) for n in range(3)]
    memory.record(*people, refs={"refs/heads/main": people[0].commit})

    assert len(repo.git.notes("--ref=darwin", "list").splitlines()) == 3
    assert "born" in repo.git.log("main", "--notes=darwin")
    done = subprocess.run(["git", "fsck", "--strict"], cwd=repo.working_dir, capture_output=True, text=True)
    assert (done.returncode, "error" in done.stderr) == (0, False)


def test_json_files_that_were_lost_or_changed_are_written_anew(repo, memory, tmp_path):
    people = [individual(repo, n) for n in range(3)]
    memory.record(*people, run(people[0].commit))
    memory.project()
    (tmp_path / "memory/individuals/g001-ada-1.json").unlink()
    (tmp_path / "memory/individuals/g002-ada-1.json").write_text("garbage")

    assert Memory(repo, tmp_path / "memory").project() == 2
    assert memory.project() == 0


def test_a_record_that_cannot_be_read_is_named(repo, memory, tmp_path):
    one = individual(repo, 0)
    memory.record(one)
    updates = memory._notes.stage({one.commit: b'{"schema": 1}\n'}, {})
    repo.git.update_ref(RECORDS, updates[RECORDS])

    with pytest.raises(MemoryFault, match=f"{RECORDS}:{one.commit[:2]}/{one.commit[2:]} is not a record"):
        Memory(repo, tmp_path / "memory")


def test_a_workspace_of_a_newer_darwin_is_refused(repo, memory, tmp_path):
    memory.record(individual(repo, 0).model_copy(update={"schema_version": 2}))
    with pytest.raises(MemoryFault, match="newer darwin"):
        Memory(repo, tmp_path / "memory")


def test_ids_may_be_unique_beginnings_or_aliases(repo, memory):
    people = [individual(repo, n) for n in range(3)]
    memory.record(*people, run(people[0].commit))

    assert memory.resolve("g001").id == "g001-ada-1"
    assert memory.resolve("base").id == memory.resolve("main").id == "g000-ada-1"
    with pytest.raises(MemoryFault, match="beginning of 3 ids"):
        memory.resolve("g00")
    with pytest.raises(MemoryFault, match="No individual"):
        memory.resolve("zzz")
    with pytest.raises(MemoryFault, match="no champion"):
        memory.resolve("champion")


def test_the_line_in_git_log_says_perplexity_mfu_verdict_and_decision(repo, memory):
    trial = Trial(seed=1, split="val", budget="1ktok", tokens=1000, loss=2.0, perplexity=7.389, mfu=0.5)
    verdict = Verdict(
        against="g000-base",
        outcome=Outcome.BETTER,
        effect=-0.1,
        interval=(-0.12, -0.08),
        confidence=0.98,
        seeds=(1, 2, 3),
    )
    one = individual(repo, 1, status=Status.TRAINED, trials=(trial,), delta={"base": -0.1}, verdict=verdict)
    memory.record(one, run(one.commit))
    decision = Decision(
        id=one.id,
        generation=1,
        choice=Choice.REJECT,
        by="Eve <e@x>",
        reason="too slow",
        incumbent="g000-base",
    )
    memory.record(decision)

    line = repo.git.notes("--ref=darwin", "show", one.commit)
    assert line == (
        "g001-ada-1: val perplexity 7.389 at 1ktok (-9.5 % to the base); MFU 50.0%; "
        "better than g000-base: -9.5 % [-11.3, -7.7] on 3 seeds; reject by Eve <e@x>: too slow"
    )


def trial(loss: float) -> Trial:
    return Trial(seed=1, split="val", budget="1ktok", tokens=1000, loss=loss)


def test_lessons_and_agents_memories_follow_from_the_records(repo, memory, tmp_path):
    base = individual(repo, 0, trials=(trial(2.2),))
    good = individual(
        repo,
        1,
        author="Ada",
        owner="Alan",
        parents=(base.id,),
        techniques=("rotary",),
        settings={"learning_rate": (0.001, 0.002)},
        status=Status.TRAINED,
        trials=(trial(2.0),),
        delta={"parent": -0.2},
    )
    failed = individual(
        repo,
        2,
        author="Ada",
        owner="Alan",
        parents=(base.id,),
        techniques=("rotary",),
        status=Status.FAILED,
        reason="crashed in its train phase",
    )
    memory.record(base, good, failed, run(base.commit))
    memory.project_derived()

    lessons = {lesson.id: lesson for lesson in memory.lessons()}
    rotary = lessons["technique:rotary"]
    assert (rotary.tried, rotary.failed) == (2, 1)
    assert rotary.effect + lessons["setting:learning_rate:up"].effect == pytest.approx(-0.2, abs=0.02)
    assert (rotary.supporting, rotary.contradicting) == ((good.id,), (failed.id,))
    assert lessons["setting:learning_rate:up"].effect < 0
    assert [lesson.tried for lesson in memory.lessons(before=2)] == [1, 1]

    ada = json.loads((tmp_path / "memory/agents/ada.json").read_text())
    assert [(a["target"], a["owner"], a["delta"]) for a in ada["attempts"]] == [
        (base.id, "Alan", -0.2),
        (base.id, "Alan", None),
    ]


@given(
    loss=st.floats(0, 20) | st.none(),
    error=st.text(max_size=50) | st.none(),
    status=st.sampled_from(TrialStatus),
)
def test_a_trial_survives_the_way_to_json_and_back(loss, error, status):
    trial = Trial(seed=1, split="val", budget="1ktok", tokens=1, loss=loss, error=error, status=status)
    assert Trial.model_validate_json(trial.model_dump_json()) == trial
