"""Ablation, thinning and crossing: what is taken out is gone and nothing else, what is crossed has both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from darwin import ablation, workspace
from darwin.agents import edits
from darwin.agents.errors import EditError
from darwin.agents.knowledge import techniques
from darwin.evolution import Evolution
from darwin.lineage import text_files
from darwin.loop import evolve
from darwin.memory.effects import Prior, features
from darwin.memory.records import Outcome, Status
from darwin.merge import ancestors, common_ancestor, merge
from tests.evolve import laboratory
from tests.evolve.laboratory import start
from tests.evolve.test_evolve import git

EDITS = {technique.id: technique.edits for technique in techniques()}


@pytest.fixture(scope="module")
def crossed(text, tmp_path_factory) -> Evolution:
    """Tests may add ablations to it."""
    folder = tmp_path_factory.mktemp("crossed") / "w"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "priors", dict)  # whatever was measured of techniques, it happens the same
        evolution = start(folder, text, agents="rules:4", budget="20s", approve="defer", seed=2)
        evolve(evolution, 3)
    return evolution


def files_of(evolution: Evolution, individual) -> dict[str, str]:
    return text_files(evolution.workspace.lineage.files(individual.commit))


def stands(technique: str, files: dict[str, str]) -> bool:
    """Whether a technique's edits are in the files as they were made."""
    try:
        edits.apply(edits.inverse(EDITS[technique]), files)
    except EditError:
        return False
    return True


def test_a_child_without_all_its_ideas_is_its_parent(crossed):
    people, checked = crossed.memory.individuals, 0
    for child in list(people.values()):
        if child.operator != "mutation" or child.parents != ("g000-base",):
            continue
        has = features(people.values())[child.id]
        assert ablation.without(crossed, child, tuple(has)) == crossed.base
        checked += 1
    assert checked


def test_what_is_taken_out_is_gone_and_the_rest_still_stands(crossed):
    people = crossed.memory.individuals
    checked = 0
    for individual in [i for i in people.values() if i.status is Status.TRAINED and i.author]:
        has = features(people.values())[individual.id]
        whole = files_of(crossed, individual)
        for idea in [i for i in has if i.startswith("technique:")]:
            lacking = ablation.without(crossed, individual, (idea,))
            if lacking is None:
                continue
            after, name = files_of(crossed, lacking), ablation.name_of(idea)
            assert not stands(name, after)
            for other in (
                ablation.name_of(i) for i in has if i not in (idea,) and i.startswith("technique:")
            ):
                assert stands(other, after) or not stands(other, whole)
            left = features(people.values())[lacking.id]
            assert left.keys() == has.keys() - {idea}
            checked += 1
    assert checked > 10


def test_an_ablation_is_a_commit_and_a_record_on_the_individuals_own(crossed):
    made = [i for i in crossed.memory.individuals.values() if i.operator == "ablation"]
    assert made
    folder = crossed.workspace.folder
    for one in made:
        assert one.without and one.author is None
        line = git(
            folder,
            "log",
            "-1",
            "--format=%P %an%x00%(trailers:only,unfold)",
            f"refs/darwin/individuals/{one.id}",
        )
        assert line.startswith(f"{crossed.memory.individuals[one.parents[0]].commit} darwin")
        assert "Darwin-Operator: ablation" in line


def test_the_table_adds_up_and_goes_by_doubt(crossed):
    best = min((crossed.memory.individuals[i] for i in crossed.run.population.values()), key=lambda i: i.rank)
    ideas = ablation.doubts(crossed, best)
    assert {idea for idea, _ in ideas} == features(crossed.memory.individuals.values())[best.id].keys()
    chances = [ablation._doubt(expected, long=False) for _, expected in ideas]
    assert chances == sorted(chances, reverse=True)
    found = ablation.ablate(crossed, best, ideas)
    known = [p.effect for p in found.parts if p.effect is not None]
    assert known and found.whole is not None
    assert found.remainder == pytest.approx(found.whole - sum(known))
    assert all(p.note or p.interval for p in found.parts)
    trials = sum(len(i.trials) for i in crossed.memory.individuals.values())
    ablation.ablate(crossed, best, ideas)
    assert sum(len(i.trials) for i in crossed.memory.individuals.values()) == trials  # nothing is run twice


def flatter_rotary(monkeypatch, long: float) -> None:
    """Every line of rotary positions wins short trials in this laboratory, and changes long ones by ``long`` nats."""
    marks = [
        e.replace.strip().encode().splitlines()[-1] for e in EDITS["rotary-positions"] if e.file == "model.py"
    ]
    plain = laboratory.loss_of
    hoped = {"technique:rotary-positions": Prior((-0.4, 0.01), None)}
    monkeypatch.setattr(workspace, "priors", lambda: hoped)

    def flattered(job, split="val"):
        found = plain(job, split)
        there = any(mark in job.files["model.py"].splitlines() for mark in marks if mark)
        return found + there * (long if job.times > 1 else -0.4)

    monkeypatch.setattr(laboratory, "loss_of", flattered)


def test_what_does_not_last_is_taken_out_of_the_champion(data, tmp_path, monkeypatch):
    flatter_rotary(monkeypatch, 0.1)
    evolution = start(tmp_path / "w", data, agents="rules:4", budget="20s", approve="defer", seed=4)
    evolve(evolution, 2)
    people, run = evolution.memory.individuals, evolution.run
    has = features(people.values())
    thinned = people[run.champion]
    assert thinned.operator == "ablation" and "technique:rotary-positions" not in has[thinned.id]
    assert "technique:rotary-positions" in thinned.without
    assert thinned.verdict is not None and thinned.verdict.outcome is Outcome.BETTER
    assert thinned.id in run.population.values() and thinned.parents[0] not in run.population.values()
    assert run.comparison.champion == run.champion and run.ablated == run.champion
    chosen_on, *fresh = evolution.seeds("larger", 3)
    assert thinned.larger.seeds == run.comparison.rows[1].seeds == tuple(fresh)
    assert people[thinned.parents[0]].larger.seeds[0] == chosen_on


def test_what_lasts_stays_and_that_costs_one_run_at_the_larger_budget(data, tmp_path, monkeypatch):
    flatter_rotary(monkeypatch, -0.1)
    evolution = start(tmp_path / "w", data, agents="rules:4", budget="20s", approve="defer", seed=4)
    evolve(evolution, 2)
    people, run = evolution.memory.individuals, evolution.run
    champion, seeds = people[run.champion], evolution.seeds("larger", 2)
    assert run.ablated == champion.id and champion.larger.seeds == run.comparison.rows[1].seeds == seeds
    (lacking,) = [i for i in people.values() if i.operator == "ablation"]
    assert lacking.without == ("technique:rotary-positions",)
    long = {(i.id, t.seed) for i in people.values() for t in i.trials if t.budget == "120s"}
    assert long == {
        (lacking.id, seeds[0]),
        *((i, seed) for i in ("g000-base", champion.id) for seed in seeds),
    }


def test_a_crossing_has_two_parents_in_git_and_what_both_have(crossed):
    people = crossed.memory.individuals
    has = features(people.values())
    crossings = [i for i in people.values() if i.operator == "crossover"]
    assert crossings
    for child in crossings:
        mine, other = (people[p] for p in child.parents)
        parents = git(crossed.workspace.folder, "rev-parse", f"{child.commit}^1", f"{child.commit}^2").split()
        assert parents == [mine.commit, other.commit]
        assert has[child.id].keys() >= has[mine.id].keys()
        brought = {*child.techniques, *child.settings}
        assert brought and brought <= {i.partition(":")[2] for i in has[other.id]}
        texts = files_of(crossed, child)
        assert all(stands(t, texts) or not stands(t, files_of(crossed, other)) for t in child.techniques)
        assert child.author != child.owner


def test_a_merge_takes_both_sides_and_refuses_conflicts_and_nonsense():
    base = {"a.py": b"x = 1\n\n\n\n\ny = 1\n", "b.py": b"z = 1\n"}
    ours, theirs = {**base, "a.py": base["a.py"].replace(b"x = 1", b"x = 2")}, {**base, "b.py": b"z = 2\n"}
    assert merge(ours, base, theirs) == {"a.py": ours["a.py"], "b.py": b"z = 2\n"}
    both = merge(ours, base, {**base, "a.py": base["a.py"].replace(b"y = 1", b"y = 3")})
    assert both["a.py"] == b"x = 2\n\n\n\n\ny = 3\n"
    assert merge(ours, base, {**base, "a.py": base["a.py"].replace(b"x = 1", b"x = 3")}) is None
    assert merge(ours, base, {**base, "a.py": base["a.py"] + b"y ==== 2\n"}) is None
    assert merge(ours, base, {"a.py": base["a.py"]}) is None  # theirs has removed a file


def test_the_common_ancestor_is_the_youngest(crossed):
    people = crossed.memory.individuals
    for one in people.values():
        for two in list(people.values())[:8]:
            found = common_ancestor(one, two, people)
            shared = ancestors(one, people).keys() & ancestors(two, people).keys()
            assert found.id in shared and found.ordinal == max(people[i].ordinal for i in shared)


def test_agents_without_memory_and_without_knowledge_are_told_nothing(data, tmp_path):
    for control in ("no-memory", "no-knowledge"):
        evolution = start(tmp_path / control, data, agents="rules:3", control=control)
        seen = []
        for name, agent in evolution.agents.items():

            def ask(task, agent=agent, seen=seen):
                seen.append(task)
                return agent.ask(task)

            evolution.agents[name] = replace(agent, ask=ask)
        evolve(evolution, 2)
        last = seen[-1]
        if control == "no-memory":
            assert last["own"] == {} and all(b["tried"] == 0 for b in last["beliefs"].values())
        else:
            priors = {b["short"] for k, b in seen[0]["beliefs"].items() if k.startswith("technique:")}
            assert priors == {0.0}
