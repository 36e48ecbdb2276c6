"""The loop over a deterministic laboratory: real agents, git and memory; only the losses are made up."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from darwin.errors import UsageError
from darwin.evolution import Evolution
from darwin.gate import waiting
from darwin.loop import evolve
from darwin.memory.records import Choice, Individual, Outcome, Status
from darwin.plan import spent
from tests.evolve.laboratory import start


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def story(folder: Path) -> dict[str, str]:
    """Every ref of the family tree: ref -> commit (the notes hold timings and are left out)."""
    rows = git(folder, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return {ref: oid for ref, oid in (row.split() for row in rows) if not ref.startswith("refs/notes/")}


def children(evolution: Evolution) -> list[Individual]:
    """All that agents wrote; not the base, nor what an ablation made."""
    return [i for i in evolution.memory.individuals.values() if i.author]


def losses(evolution: Evolution) -> dict[str, list[float | None]]:
    return {i.id: [t.loss for t in i.trials] for i in evolution.memory.individuals.values()}


def test_a_run_completes_its_generations_and_improves(evolved):
    run, people = evolved.run, evolved.memory.individuals
    assert (run.generation, run.target, run.settled) == (3, None, 12)
    assert len(children(evolved)) == 12
    assert run.comparison is not None and run.comparison.rows[0].change_percent < 0
    assert run.comparison.champion == run.champion == run.incumbent
    assert all(i.status is not Status.BORN for i in people.values())


def test_every_agent_rewrites_scripts_of_others_only(evolved):
    born = children(evolved)
    assert all(c.author != c.owner for c in born)
    for generation in (1, 2, 3):
        authors = [c.author for c in born if c.generation == generation]
        assert sorted(authors) == sorted(evolved.run.population)


def test_every_child_is_a_commit_that_says_who_why_and_how(evolved):
    folder = evolved.workspace.folder
    for child in children(evolved):
        parent = evolved.memory.individuals[child.parents[0]]
        author, subject, trailers = git(
            folder, "log", "-1", "--format=%an <%ae>%x00%s%x00%(trailers:only,unfold)",
            f"refs/darwin/individuals/{child.id}",
        ).split("\0")  # fmt: skip
        assert author == f"{child.author} <{child.author.lower()}@agents.invalid>"
        assert subject == child.subject
        assert f"Darwin-Owner: {child.owner}" in trailers
        assert f"Darwin-Generation: {child.generation}" in trailers
        assert all(f"Darwin-Technique: {t}" in trailers for t in child.techniques)
        assert git(folder, "rev-parse", f"{child.commit}^").strip() == parent.commit
        assert git(folder, "rev-parse", f"{child.commit}^{{tree}}").strip() == child.tree


def test_a_stock_git_tells_the_story_and_is_sound(evolved):
    folder = evolved.workspace.folder
    log = git(folder, "log", "--graph", "--all", "--notes=darwin")
    assert all(f"{i}: " in log for i in evolved.memory.individuals)
    done = subprocess.run(["git", "fsck", "--strict"], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert git(folder, "status", "--porcelain") == ""


def test_main_holds_the_champions_tree_through_merges_alone(evolved):
    folder, run = evolved.workspace.folder, evolved.run
    champion = evolved.memory.individuals[run.incumbent]
    assert git(folder, "rev-parse", "main^{tree}").strip() == champion.tree
    merges = git(folder, "log", "--first-parent", "--format=%P", "main").splitlines()
    assert all(len(parents.split()) == 2 for parents in merges[:-1])
    assert len(merges) - 1 == sum(d.choice is Choice.MERGE for d in evolved.memory.decisions.values())
    for name, data in evolved.workspace.lineage.files(run.main).items():
        assert (folder / name).read_bytes() == data


def test_branches_say_what_each_agent_owns(evolved):
    folder = evolved.workspace.folder
    for agent, individual in evolved.run.population.items():
        commit = git(folder, "rev-parse", f"agents/{agent.lower()}").strip()
        assert commit == evolved.memory.individuals[individual].commit


def test_the_json_files_say_what_git_says(evolved):
    folder = evolved.workspace.folder / "memory"
    for individual in evolved.memory.individuals.values():
        file = json.loads((folder / f"individuals/{individual.id}.json").read_text())
        assert file == json.loads(git(folder, "notes", "--ref=darwin-records", "show", individual.commit))
    assert json.loads((folder / "run.json").read_text())["generation"] == 3
    assert len(json.loads((folder / "agents/ada.json").read_text())["attempts"]) == 3
    assert json.loads((folder / "lessons.json").read_text())["lessons"]


def test_failed_children_are_kept_with_their_traceback(evolved):
    failed = [i for i in evolved.memory.individuals.values() if i.status is Status.FAILED]
    assert failed, "the laboratory plants failures; choose another seed if none came up"
    for individual in failed:
        assert individual.trials[0].error and "planted" in individual.trials[0].error
        assert individual.id not in evolved.run.population.values()
        log = evolved.workspace.artifacts / individual.id
        assert "planted" in next(log.iterdir()).read_text()


def test_verdicts_use_seeds_that_chose_nothing(evolved):
    chosen = evolved.seeds("selection", 1)[0]
    judged = [i for i in evolved.memory.individuals.values() if i.verdict]
    assert judged
    for individual in judged:
        assert chosen not in individual.verdict.seeds
        closing = {t.seed for t in individual.trials if t.split == "test"}
        assert not closing & {chosen, *individual.verdict.seeds}


def test_every_trial_is_accounted_to_one_purpose(evolved):
    people = evolved.memory.individuals
    found = spent(evolved.run, people)
    choosing = evolved.seeds("selection", 2)
    born = [t for i in people.values() if i.parents for t in i.trials if t.seed in choosing]
    assert found["children"] == pytest.approx(sum(t.cpu_seconds or 0 for t in born))
    runs = {(i.id, t.seed, t.budget): t.cpu_seconds or 0 for i in people.values() for t in i.trials}
    assert sum(found.values()) == pytest.approx(sum(runs.values()))
    assert all(found[purpose] > 0 for purpose in ("luck", "verdicts", "larger budget", "closing"))


def test_equal_seeds_give_equal_commits_and_losses_whatever_the_workers(data, tmp_path):
    one, two = (start(tmp_path / name, data, agents="rules:4", workers=n) for name, n in (("a", 1), ("b", 2)))
    for evolution in (one, two):
        evolve(evolution, 2)
    assert story(tmp_path / "a") == story(tmp_path / "b")
    assert losses(one) == losses(two)


def test_different_seeds_give_different_evolutions(data, tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        evolve(start(tmp_path / name, data, agents="rules:4", seed=seed), 1)
    assert story(tmp_path / "a") != story(tmp_path / "b")


def test_generations_in_two_parts_begin_as_those_in_one(evolved, data, tmp_path):
    """What the first part's closing has shown at the larger budget is known to the second part, so that may differ."""
    evolve(start(tmp_path / "parts", data, agents="rules:4", budget="20s"), 1)
    parts = start(tmp_path / "parts", data)
    evolve(parts, 3)
    assert [c.generation for c in children(parts)] == [1] * 4 + [2] * 4 + [3] * 4
    whole, again = story(evolved.workspace.folder), story(tmp_path / "parts")
    first = [ref for ref in whole if "individuals/g001-" in ref or ref.endswith("g000-base")]
    assert len(first) == 5 and all(whole[ref] == again[ref] for ref in first)


def test_the_control_merges_nothing_and_claims_nothing(data, tmp_path):
    evolution = start(tmp_path / "w", data, agents="rules:4", control="reseeded")
    comparison = evolve(evolution, 3)
    people = list(evolution.memory.individuals.values())
    assert {i.tree for i in people} == {people[0].tree}
    assert len({i.commit for i in people}) == len(people)
    assert len({i.loss for i in people}) == len(people)
    assert evolution.run.incumbent == "g000-base" and evolution.run.champion is None
    low, high = comparison.rows[0].interval_percent
    assert low < 0 < high and not comparison.proven


def test_decisions_put_off_leave_main_alone_and_one_change_waiting(data, tmp_path):
    evolution = start(tmp_path / "w", data, agents="rules:4", approve="defer")
    evolve(evolution, 3)
    run = evolution.run
    assert run.incumbent == "g000-base" and run.main == evolution.base.commit
    queue = waiting(evolution.memory)
    assert queue and queue[-1].id == run.champion
    assert all(i.verdict.outcome is Outcome.BETTER for i in queue)


def test_patience_ends_a_run_that_does_not_improve(data, tmp_path):
    evolution = start(tmp_path / "w", data, agents="rules:4", control="reseeded", patience=2)
    evolve(evolution, 9)
    assert evolution.run.generation == 2


def test_a_person_who_edited_main_keeps_the_edits(data, tmp_path):
    evolution = start(tmp_path / "w", data, agents="rules:4")
    (tmp_path / "w/train.py").write_text("# mine\n")
    evolve(evolution, 2)
    assert evolution.run.incumbent != "g000-base"
    assert (tmp_path / "w/train.py").read_text() == "# mine\n"


def test_a_workspace_is_not_made_over_something_else(data, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w/letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not a darwin workspace"):
        start(tmp_path / "w", data)
    assert [p.name for p in (tmp_path / "w").iterdir()] == ["letter.txt"]
