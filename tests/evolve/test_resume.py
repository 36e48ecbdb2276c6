"""Killed anywhere, the same command ends the run as it would have ended."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from darwin.check import problems
from darwin.confinement import plain
from darwin.errors import UsageError
from darwin.loop import evolve
from darwin.measure import Wanted, measure
from darwin.memory.records import Status
from darwin.screen import Screen
from darwin.verdicts import find
from darwin.workspace import open_workspace
from tests.evolve.killed import AGENTS, Point, kill_at, kills, left_in, run
from tests.evolve.laboratory import start
from tests.evolve.test_evolve import git, losses, story
from tests.exhaustive import few

GENERATIONS = 2
CHAINS = few(range(5), 4)
"""Of ten kills at random each, in one workspace; the last one kills in the middle of an ablation."""


@pytest.fixture(scope="module")
def undisturbed(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "w"
    evolve(start(folder, text, agents=AGENTS), GENERATIONS)
    return folder


def ended(folder: Path) -> tuple[dict[str, str], dict[str, list[float | None]]]:
    """What a workspace came to: every ref of the family tree, every loss."""
    people = open_workspace(folder).memory.individuals
    return story(folder), {i.id: [t.loss for t in i.trials] for i in people.values()}


def killed_again_and_again(folder: Path, text: Path, points: list[Point]) -> int:
    """Kill the same command at each point in turn, then let it end; how many times it was killed."""
    found = 0
    for point in points:
        status, said = run(folder, text, GENERATIONS, point)
        assert status in (0, -signal.SIGKILL), said
        found += status != 0
    status, said = run(folder, text, GENERATIONS)
    assert status == 0, said
    return found


def test_sigkill_at_every_named_step_changes_nothing_in_the_end(undisturbed, text, tmp_path):
    lines = [json.loads(line) for line in (undisturbed / "run.log").read_text().splitlines()]
    edges = dict.fromkeys(
        f"{edge} {line[edge]}" for line in lines for edge in ("begin", "end") if edge in line
    )
    folder = tmp_path / "w"
    assert killed_again_and_again(folder, text, [kill_at(edge) for edge in edges]) == len(edges) >= 40
    assert left_in(tmp_path) == []
    assert ended(folder) == ended(undisturbed)
    assert problems(open_workspace(folder)) == []


@pytest.mark.parametrize("chain", CHAINS)
def test_sigkill_at_random_changes_nothing_in_the_end(undisturbed, text, tmp_path, chain):
    folder = tmp_path / "w"
    assert killed_again_and_again(folder, text, kills(10 * chain, 10)) == 10
    assert left_in(tmp_path) == []
    assert ended(folder) == ended(undisturbed)
    assert problems(open_workspace(folder)) == []
    assert not [
        p
        for p in folder.rglob("*")
        if "tmp_obj" in p.name or (p.name.endswith(".lock") and p.name != "darwin.lock")
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_what_was_left_half_done_is_said_in_one_line(text, tmp_path):
    folder = tmp_path / "w"
    assert run(folder, text, GENERATIONS, kill_at("end look_twice"))[0] == -signal.SIGKILL
    (folder / ".git/refs/heads/main.lock").write_text("")
    (folder / "memory/individuals/.g000-base.json.999999").write_text("{")
    (folder / "memory/individuals/g000-base.json").unlink()
    status, said = run(folder, text, GENERATIONS)
    assert status == 0
    (line,) = [line for line in said.splitlines() if line.startswith("The last run was killed")]
    assert line == (
        "The last run was killed in its step look_twice. Removed main.lock, left by a run that was killed. Removed 1 "
        "half-written file(s). Wrote 4 file(s) of memory/ anew. Going on in generation 1 of 2; 0 scripts are settled, "
        "2 more are born."
    )


@pytest.mark.parametrize("state", ["prepared", "committed"])
def test_git_killed_in_the_middle_of_a_transaction_is_one_sentence_and_is_mended(
    undisturbed, text, tmp_path, state
):
    folder = tmp_path / "w"
    run(folder, text, GENERATIONS, kill_at("begin settle"))
    hook = folder / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\nif [ "$1" = {state} ]; then kill -9 $PPID; fi\n')
    hook.chmod(0o755)
    status, said = run(folder, text, GENERATIONS)
    last = said.strip().splitlines()[-1]
    assert status == 1 and last.startswith("darwin: git could not write ") and "killed by signal 9" in last
    assert "Traceback" not in said
    hook.unlink()
    assert run(folder, text, GENERATIONS)[0] == 0
    assert ended(folder) == ended(undisturbed)
    assert problems(open_workspace(folder)) == []


def test_a_checkout_killed_between_two_files_is_completed(text, tmp_path):
    folder = tmp_path / "w"
    evolution = start(folder, text, agents=AGENTS)
    evolve(evolution, GENERATIONS)
    run_now, lineage = evolution.run, evolution.workspace.lineage
    assert run_now.incumbent != "g000-base"
    before = lineage.files(f"{run_now.main}^1")
    changed = [p for p, data in lineage.files(run_now.main).items() if before[p] != data]
    (folder / changed[0]).write_bytes(before[changed[0]])
    (folder / ".git/index.lock").write_text("")
    start(folder, text)
    assert lineage.shows(run_now.main)


def counting(evolution) -> list[str]:
    """The labels of the jobs that an evolution trains from now on."""
    trained: list[str] = []
    inner = evolution.evaluate
    evolution.evaluate = lambda jobs: (trained.extend(job.label for job in jobs), inner(jobs))[1]
    return trained


def test_retrain_trains_what_is_compared_anew_and_keeps_what_was_known(text, tmp_path):
    folder = tmp_path / "w"
    evolution = start(folder, text, agents=AGENTS)
    evolve(evolution, 1)
    first = losses(evolution)
    again = start(folder, text)
    trained = counting(again)
    evolve(again, 1)
    assert trained == []
    again.retrained = set()
    evolve(again, 1)
    assert trained and losses(again) == first
    anew = [i for i in again.memory.individuals.values() if i.superseded]
    assert {i.id for i in anew} == set(trained)
    assert all(t.conditions == again.conditions for i in anew for t in (*i.trials, *i.superseded))
    assert again.run.test_uses > evolution.run.test_uses


def test_a_trial_of_the_same_files_is_taken_over_where_it_was_run_under_the_same_conditions(text, tmp_path):
    evolution = start(tmp_path / "w", text, agents=AGENTS)
    evolve(evolution, 1)
    memory, lineage, seed = evolution.memory, evolution.workspace.lineage, evolution.seeds("selection", 1)[0]
    known = memory.individuals[evolution.run.incumbent]
    trained = counting(evolution)
    for name, conditions in (
        ("twin", evolution.conditions),
        ("stranger", "torch 1.0, 1 thread, cpu, process"),
    ):
        commit, tree = lineage.commit(
            lineage.files(known.commit), [evolution.base.commit], ordinal=9, author="Eve", subject=name
        )
        memory.record(
            known.model_copy(
                update={"id": name, "commit": commit, "parents": ("g000-base",), "status": Status.BORN,
                        "trials": (), "verdict": None, "larger": None, "tree": tree}
            )
        )  # fmt: skip
        evolution.conditions = conditions
        measure(evolution, [Wanted(memory.individuals[name], seed)])
    twin, stranger = memory.individuals["twin"], memory.individuals["stranger"]
    assert trained == ["stranger"]
    assert twin.loss == stranger.loss == known.loss and twin.status is Status.TRAINED
    assert (twin.trials[0].taken_from, twin.trials[0].cpu_seconds) == (known.id, 0.0)
    assert stranger.trials[0].taken_from is None


def test_tokens_and_packages_are_conditions_too_where_a_trial_is_taken_over(text, tmp_path):
    evolution = start(tmp_path / "w", text, agents=AGENTS)
    evolve(evolution, 1)
    memory, lineage = evolution.memory, evolution.workspace.lineage
    first, second = evolution.seeds("selection", 2)
    known = memory.individuals[evolution.run.incumbent]
    trained = counting(evolution)
    shorter = known.trials[0].model_copy(update={"seed": second, "tokens": known.trials[0].tokens // 2})
    twins = (("fewer", (shorter,), None), ("layered", (), "0123456789abcdef"), ("twin", (), None))
    for name, trials, packages in twins:
        commit, _ = lineage.commit(
            lineage.files(known.commit), [evolution.base.commit], ordinal=9, author="Eve", subject=name
        )
        bare = {"status": Status.BORN, "trials": trials, "verdict": None, "larger": None}
        one = known.model_copy(update={"id": name, "commit": commit, **bare})
        evolution.packages = lambda packages=packages: packages
        memory.record(one)
        measure(evolution, [Wanted(one, first)])
    assert trained == ["fewer", "layered"]


@pytest.mark.parametrize("part", ["torch", "thread", "cpu", "process"])
def test_a_trial_under_another_torch_thread_count_device_or_image_is_another_trial(part, text, tmp_path):
    evolution = start(tmp_path / "w", text, agents=AGENTS)
    trained, seed = counting(evolution), evolution.seeds("selection", 1)[0]
    measure(evolution, [Wanted(evolution.base, seed)])
    assert trained == [] and part in evolution.conditions
    evolution.conditions = evolution.conditions.replace(part, "other")
    measure(evolution, [Wanted(evolution.base, seed)])
    assert trained == [evolution.base.id]
    assert len(evolution.base.superseded) == 1, "the earlier one is kept"


def test_a_run_that_goes_on_under_other_conditions_says_so_and_compares_only_what_was_run_under_them(
    text, tmp_path
):
    folder = tmp_path / "w"
    before = start(folder, text, agents=AGENTS)
    evolve(before, 1)
    said = Console(record=True, quiet=False, file=io.StringIO(), width=200)
    after = start(folder, text, Screen(said), {"confinement": replace(plain(), image="another")})
    assert after.conditions != before.conditions
    old = dict(before.memory.individuals)
    evolve(after, GENERATIONS)
    shown = " ".join(said.export_text().split())
    assert f"so far: {before.conditions}; now it is {after.conditions}." in shown and "trials anew" in shown
    people, run = after.memory.individuals, after.run
    for one in {run.incumbent, run.champion or run.incumbent, after.base.id, *run.population.values()}:
        assert people[one].trials[0].under(after.conditions)
    judged = [
        i for i in people.values() if i.verdict and i.verdict != getattr(old.get(i.id), "verdict", None)
    ]
    assert judged, "nothing was judged: take another seed"
    for one in judged:
        rivals = (one, people[one.verdict.against])
        seen = {
            find(i.trials, seed, "val", run.budget).conditions for i in rivals for seed in one.verdict.seeds
        }
        assert seen == {after.conditions}
    anew = [i for i in old.values() if people[i.id].superseded]
    assert anew and all(
        set(i.trials) <= {*people[i.id].trials, *people[i.id].superseded} for i in old.values()
    )
    again = start(folder, text, wiring={"confinement": replace(plain(), image="another")})
    trained = counting(again)
    evolve(again, GENERATIONS)
    assert trained == [], "what was trained anew is known from then on"


def test_refs_moved_in_part_are_set_back_to_the_records(data, tmp_path):
    for generations in (1, GENERATIONS):
        evolve(start(tmp_path / "undisturbed", data, agents="rules:3"), generations)
    folder = tmp_path / "w"
    evolution = start(folder, data, agents="rules:3")
    evolve(evolution, 1)
    repo = evolution.workspace.lineage.repo
    base = evolution.base.commit
    repo.git.update_ref("refs/heads/main", base)
    repo.git.update_ref("refs/heads/agents/ada", base)
    repo.git.update_ref("-d", "refs/darwin/individuals/g001-ada-1")
    (folder / ".git/refs/heads/main.lock").write_text("")

    evolve(start(folder, data), GENERATIONS)
    assert story(folder) == story(tmp_path / "undisturbed")


def test_a_persons_commit_on_main_is_never_moved_away_from(data, tmp_path):
    folder = tmp_path / "w"
    evolve(start(folder, data, agents="rules:3"), 1)
    (folder / "train.py").write_text("# mine\n")
    subprocess.run(["git", "commit", "-qam", "mine"], cwd=folder, check=True)
    mine = git(folder, "rev-parse", "main")
    with pytest.raises(UsageError, match="main holds a commit that darwin did not make"):
        start(folder, data)
    assert git(folder, "rev-parse", "main") == mine
    assert (folder / "train.py").read_text() == "# mine\n"


def test_readable_notes_that_were_lost_are_written_anew(data, tmp_path):
    folder = tmp_path / "w"
    evolve(start(folder, data, agents="rules:3"), 1)
    before = git(folder, "notes", "--ref=darwin", "list")
    git(folder, "update-ref", "-d", "refs/notes/darwin")
    start(folder, data)
    assert git(folder, "notes", "--ref=darwin", "list") == before


def test_settings_edited_away_from_what_was_begun_are_refused(data, tmp_path):
    folder = tmp_path / "w"
    start(folder, data, agents="rules:3", patience=7)
    toml = folder / "darwin.toml"
    assert "patience = 7" not in toml.read_text()
    toml.write_text(toml.read_text().replace("rules:3", "rules:4"))
    with pytest.raises(UsageError, match="begun with 3 others"):
        start(folder, data)
