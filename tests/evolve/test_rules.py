"""Variation and selection: pure rules, checked for what they promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from darwin.memory.records import Individual, Status, Trial
from darwin.selection import survivors
from darwin.variation import plan


def individual(name: str, ordinal: int, loss: float | None, owner: str | None = None) -> Individual:
    trials = () if loss is None else (Trial(seed=1, split="val", budget="b", tokens=1, loss=loss),)
    return Individual(
        id=name,
        ordinal=ordinal,
        generation=0,
        commit="c",
        tree="t",
        code="x",
        operator="mutation",
        owner=owner,
        status=Status.TRAINED if loss is not None else Status.FAILED,
        trials=trials,
    )


populations = st.lists(st.floats(1, 3), min_size=2, max_size=8).map(
    lambda losses: {f"i{n}": individual(f"i{n}", n, loss) for n, loss in enumerate(losses)}
)


@given(people=populations, seed=st.integers(0, 100), settled=st.integers(0, 50))
def test_no_agent_rewrites_its_own_script_and_each_writes_one_child_a_generation(people, seed, settled):
    population = {f"A{n}": name for n, name in enumerate(people)}
    whole = settled - settled % len(population)
    births = plan(population, people, seed=seed, settled=whole, count=len(population))

    assert all(b.author != b.owner and b.target == population[b.owner] for b in births)
    assert sorted(b.author for b in births) == sorted(population)
    assert {b.generation for b in births} == {whole // len(population) + 1}
    assert births == plan(population, people, seed=seed, settled=whole, count=len(population))


@given(people=populations)
def test_a_plan_does_not_depend_on_the_size_of_the_batches(people):
    population = {f"A{n}": name for n, name in enumerate(people)}
    whole = plan(population, people, seed=1, settled=0, count=4)
    parts = [plan(population, people, seed=1, settled=n, count=1)[0] for n in range(4)]
    assert whole == parts


@given(people=populations, children=st.lists(st.floats(1, 3) | st.none(), max_size=4))
def test_survivors_hold_the_best_and_nobody_worse_than_one_who_left(people, children):
    population = {f"A{n}": name for n, name in enumerate(people)}
    newborn = [individual(f"c{n}", 100 + n, loss, "A0") for n, loss in enumerate(children)]
    everyone = people | {c.id: c for c in newborn}
    after = survivors(population, newborn, everyone)

    assert after.keys() == population.keys()
    losses = sorted(i.rank[0] for i in [*people.values(), *newborn])
    assert sorted(everyone[i].rank[0] for i in after.values()) == losses[: len(population)]


def test_a_child_takes_the_rewritten_agents_place_among_equally_bad_ones():
    people = {"base": individual("base", 0, 2.0)}
    child = individual("child", 1, 1.5, owner="B")
    population = {"A": "base", "B": "base", "C": "base"}
    assert survivors(population, [child], people | {"child": child}) == {
        "A": "base",
        "B": "child",
        "C": "base",
    }
