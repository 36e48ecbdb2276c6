"""The search's own rules: partners, archive, places, second seeds, screening; each for what it promises."""

from __future__ import annotations

import random

import pytest

from darwin.memory.effects import Effects, Prior
from darwin.memory.records import Individual, Status, Trial
from darwin.screening import promoted, short
from darwin.selection import close_calls, fastest, merit, survivors, to_speed_up
from darwin.strategy import Strategy
from darwin.variation import ARCHIVE_STUCK, partners_of, plan
from tests.evolve.laboratory import start

GOOD = {f"technique:{n}": Prior((-0.1, 0.01), (-0.1, 0.01)) for n in "abcdef"}


def person(id: str, ordinal: int, loss: float | None, parents=("base",), **fields) -> Individual:
    found = {1: loss, **fields.pop("seeds", {})}
    trials = tuple(
        Trial(seed=s, split="val", budget="1ktok", tokens=1, loss=value, mfu=fields.get("mfu"))
        for s, value in found.items()
        if value is not None
    )
    fields.pop("mfu", None)
    defaults = {
        "generation": 1, "author": "Ada", "owner": "Alan", "operator": "mutation",
        "status": Status.TRAINED if loss is not None else Status.FAILED,
    }  # fmt: skip
    return Individual(
        id=id,
        ordinal=ordinal,
        commit=id,
        tree=id,
        code=id,
        parents=parents,
        trials=trials,
        **(defaults | fields),
    )


def family(*people: Individual) -> dict[str, Individual]:
    base = person("base", 0, 2.0, (), author=None, operator="base", mfu=0.5, seeds={2: 2.1})
    return {p.id: p for p in (base, *people)}


SEATS = {"Ada": "base", "Alan": "base", "Barbara": "base", "Claude": "base"}


def births(people, population=SEATS, strategy=Strategy(), effects=None, generations=range(1, 2), **more):  # noqa: B008
    return [
        birth
        for generation in generations
        for birth in plan(
            population, people, seed=3, settled=(generation - 1) * len(population), count=len(population),
            strategy=strategy, effects=effects, **more,
        )
    ]  # fmt: skip


def test_partners_bring_what_is_missing_the_most_useful_first():
    people = family(
        person("best", 1, 1.8, techniques=("a",)),
        person("one", 2, 1.9, techniques=("b",)),
        person("two", 3, 1.95, techniques=("b", "c")),
        person("same", 4, 1.85, techniques=("a",)),
        person("harm", 5, 1.99, techniques=("z",)),
        person("failed", 6, None, techniques=("d",)),
    )
    effects = Effects(GOOD | {"technique:z": Prior((0.2, 0.01), (0.2, 0.01))})
    assert partners_of("best", people, effects) == ("two", "one")


def test_a_crossing_whose_ideas_are_known_together_already_is_not_planned():
    people = family(
        person("best", 1, 1.8, techniques=("a",)),
        person("one", 2, 1.9, techniques=("b",)),
        person("both", 3, 1.95, ("best",), techniques=("b",)),
    )
    assert partners_of("best", people, Effects(GOOD)) == ()


def test_the_last_birth_of_a_generation_crosses_the_best_and_no_agent_its_own():
    people = family(
        *(person(f"p{n}", n, 1.8 + n / 100, techniques=("abcdef"[n],), author="Ada") for n in range(1, 5))
    )
    seats = {"Ada": "p1", "Alan": "p2", "Barbara": "p3", "Claude": "p4"}
    found = births(people, seats, effects=Effects(GOOD), generations=range(1, 4))
    crossings = [b for b in found if b.partners]
    assert [b.generation for b in crossings] == [2, 3]
    for birth in crossings:
        assert birth.target == ("p2" if birth.author == "Ada" else "p1")
        assert birth.target not in birth.partners
    assert all(b.author != b.owner for b in found)
    alone = births(people, seats, Strategy(crossover=False), Effects(GOOD), range(1, 4))
    assert not any(b.partners for b in alone)


def archive_draws(people, seats, **more) -> float:
    found = births(people, seats, generations=range(2, 102), **more)
    assert all(b.author != b.owner for b in found)
    return sum(b.target not in seats.values() for b in found) / len(found)


def test_scripts_outside_of_the_population_are_rewritten_now_and_then_more_often_when_stuck():
    old = [
        person(f"old{n}", n, 1.9, author="AlanBarbara"[4 * (n % 2) :][:4] if n % 2 else "Alan")
        for n in range(1, 9)
    ]
    best = [person(f"p{n}", 10 + n, 1.5, generation=g) for g in (1,) for n in range(4)]
    people = family(*old, *best)
    seats = dict(zip(SEATS, (p.id for p in best), strict=True))
    assert archive_draws(people, seats) == pytest.approx(ARCHIVE_STUCK, abs=0.06)
    assert archive_draws(people, seats, strategy=Strategy(archive=False)) == 0


def test_who_has_many_children_is_drawn_less():
    plain, parent = person("plain", 1, 1.9, author="Eve"), person("parent", 2, 1.9, author="Eve")
    children = [person(f"c{n}", 3 + n, None, ("parent",), author="Eve") for n in range(9)]
    best = [person(f"p{n}", 20 + n, 1.5, ("base",)) for n in range(4)]
    people = family(plain, parent, *children, *best)
    seats = dict(zip(SEATS, (p.id for p in best), strict=True))
    drawn = [
        b.target for b in births(people, seats, generations=range(2, 200)) if b.target not in seats.values()
    ]
    assert drawn.count("plain") > 4 * drawn.count("parent") > 0


def test_own_code_lets_everyone_rewrite_and_replace_only_its_own():
    people = family(*(person(f"p{n}", n, 1.8 + n / 10) for n in range(1, 5)))
    seats = {"Ada": "p1", "Alan": "p2", "Barbara": "p3", "Claude": "p4"}
    own = Strategy(own_code=True, crossover=False, archive=False)
    assert all(b.author == b.owner and b.target == seats[b.owner] for b in births(people, seats, own))
    child = person("child", 9, 1.85, author="Alan")
    after = survivors(seats, [child], {**people, "child": child}, strategy=own)
    assert after == {**seats, "Alan": "child"}


def test_greedy_keeps_one_script_and_only_what_lowers_its_loss():
    people = family(better := person("better", 1, 1.9), worse := person("worse", 2, 2.1))
    greedy = Strategy(search="greedy", crossover=False, archive=False)
    assert survivors(SEATS, [worse], people, strategy=greedy) == SEATS
    assert survivors(SEATS, [better, worse], people, strategy=greedy) == dict.fromkeys(SEATS, "better")


def test_random_rewrites_anything_good_or_bad():
    people = family(*(person(f"p{n}", n, 1.0 + n, author="Eve") for n in range(1, 8)))
    anything = Strategy(search="random", crossover=False, archive=False)
    drawn = {b.target for b in births(people, strategy=anything, generations=range(1, 40))}
    assert drawn == set(people)


def test_a_close_call_is_measured_once_more_and_a_clear_one_is_not():
    people = family(
        near := person("near", 1, 1.999), far := person("far", 2, 1.9), bad := person("bad", 3, None)
    )
    again = close_calls(SEATS, [near, far, bad], people, strategy=Strategy(), gap=0.01)
    assert [i.id for i in again] == ["base", "near"]
    assert close_calls(SEATS, [near], people, strategy=Strategy(search="greedy"), gap=0.01) == []


def test_two_seeds_are_held_against_the_base_on_each():
    base = family()["base"]
    lucky = person("lucky", 1, 1.9, seeds={2: 2.2})
    assert merit(lucky, base) == 1.9
    assert merit(lucky, base, second=2) == pytest.approx(
        2.0
    )  # 0.1 better on one seed, 0.1 worse on the other
    assert merit(person("once", 2, 1.9), base, second=2) == 1.9


def test_the_fastest_no_worse_than_the_base_has_a_place_and_never_that_of_the_best():
    people = family(
        *(person(f"p{n}", n, 1.5 + n / 100, mfu=0.5) for n in range(1, 5)),
        fast := person("fast", 9, 1.99, mfu=0.56),
        person("slow", 10, 2.3, mfu=0.9),
    )
    seats = {"Ada": "p1", "Alan": "p2", "Barbara": "p3", "Claude": "p4"}
    after = survivors(seats, [fast], people, fast_place=True)
    assert after == {**seats, "Claude": "fast"}
    assert survivors(seats, [fast], people) == seats
    assert fastest(people.values(), people["base"]).id == "fast"
    assert to_speed_up(seats, people) is None
    del people["fast"]
    assert to_speed_up(seats, people) == "p1"
    slow = family(
        person("left", 1, 1.99, mfu=0.4), person("slower", 2, 1.5, mfu=0.3), person("lost", 3, 2.3, mfu=0.9)
    )
    assert to_speed_up({"Ada": "slower"}, slow) == "left"
    assert to_speed_up({"Eve": "slower"}, slow) is None


def test_births_that_aim_at_mfu_rewrite_the_fastest_once_a_generation():
    people = family(*(person(f"p{n}", n, 1.8, author="Eve") for n in range(1, 5)))
    seats = {"Ada": "p1", "Alan": "p2", "Barbara": "p3", "Claude": "p4"}
    found = births(people, seats, generations=range(1, 6), fastest="p3")
    aimed = [b for b in found if b.aim == "mfu"]
    assert len(aimed) == 5 and all(b.target == "p3" and b.author != b.owner for b in aimed)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("20s", None),
        ("59s", None),
        ("60s", "10s"),
        ("100s", "15s"),
        ("900s", "135s"),
        ("9Mtok", None),
        ("1PFLOP", None),
    ],
)
def test_only_long_time_budgets_are_screened(budget, expected):
    assert short(budget) == expected


def test_the_better_half_of_a_batch_gets_a_whole_trial(data, tmp_path):
    from darwin.births import bear
    from darwin.loop import evolve, next_births

    evolution = start(tmp_path / "w", data, agents="rules:4", budget="60s", batch=4, seed=5)
    two = bear(evolution, next_births(evolution, 1))
    whole = promoted(evolution, two)
    people = [evolution.memory.individuals[i.id] for i in two]
    trained = [i for i in people if i.screening.loss is not None]
    order = [i.id for i in sorted(trained, key=lambda i: i.screening.loss)]
    assert [i.id for i in sorted(whole, key=lambda i: i.screening.loss)] == order[:2]
    assert all(i.screening.budget == "10s" and not i.trials for i in people)
    assert {i.status for i in people if i.id in order[2:]} == {Status.SCREENED}
    assert promoted(evolution, two) == whole

    evolve(evolution, 1)
    left_out = [i for i in evolution.memory.individuals.values() if i.status is Status.SCREENED]
    assert left_out and all(
        i.loss is None and i.id not in evolution.run.population.values() for i in left_out
    )


def test_plans_are_the_same_in_one_piece_and_in_many():
    rng = random.Random(1)
    people = family(
        *(person(f"p{n}", n, rng.uniform(1.5, 2), techniques=(rng.choice("abcdef"),)) for n in range(1, 20))
    )
    seats = {"Ada": "p1", "Alan": "p2", "Barbara": "p3", "Claude": "p4"}
    known = {"seed": 1, "effects": Effects(GOOD)}
    whole = plan(seats, people, settled=4, count=4, **known)
    assert whole == [plan(seats, people, settled=n, count=1, **known)[0] for n in range(4, 8)]
