"""The model of effects: what it concludes from differences, on its own terms and against plain least squares."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darwin.memory.effects import Effects, Observation, Prior, change_of, distance, features, observations
from darwin.memory.lessons import FIRST_STEP, LEAST_STEP, distil, steps
from darwin.memory.posterior import Entries, Table
from darwin.memory.records import Claim, Individual, Status, Trial, TrialStatus

MUON, ROTARY, RATE = "technique:muon", "technique:rotary", "setting:learning_rate"


def seen(change, difference, had=None, horizon=0.0, name="i", gain=0.0):
    return Observation(name, change, had or {}, gain, horizon, difference, 1)


def person(id, ordinal, loss, parents=(), seeds=(1,), long=None, **fields):
    trials = [Trial(seed=s, split="val", budget="10s", tokens=100, loss=loss) for s in seeds]
    if long is not None:
        trials.append(Trial(seed=9, split="val", budget="60s", tokens=600, loss=long))
    if loss is None:
        trials = [Trial(seed=1, split="val", budget="10s", tokens=100, status=TrialStatus.CRASHED)]
    defaults = {"status": Status.FAILED if loss is None else Status.TRAINED, "operator": "mutation"}
    return Individual(
        id=id, ordinal=ordinal, generation=1, commit=id, tree=id, code=id, parents=parents, trials=tuple(trials),
        **(defaults | fields),
    )  # fmt: skip


def family(*people):
    return {p.id: p for p in people}


def test_without_trials_the_prior_is_all_there_is():
    effects = Effects({MUON: Prior((-0.2, 0.01), (-0.15, 0.02), (-0.1, 0.01))})
    known = effects.of({MUON: 1.0})
    assert (known.short, known.long, known.mfu) == (-0.2, -0.15, -0.1)
    assert effects.of({ROTARY: 1.0}).short == 0
    assert effects.of({ROTARY: 1.0}).short_sd > known.short_sd


def test_a_horizon_that_was_not_measured_is_unknown_not_nothing():
    effects = Effects({MUON: Prior((-0.2, 0.01), None)})
    assert -0.2 < effects.of({MUON: 1.0}).long < 0
    assert effects.of({MUON: 1.0}).long_sd > 0.05


def test_many_trials_overrule_the_prior_and_leave_little_doubt():
    effects = Effects({MUON: Prior((-0.2, 0.01), (-0.2, 0.01))}, [seen({MUON: 1.0}, 0.1)] * 30)
    found = effects.of({MUON: 1.0})
    assert found.short == pytest.approx(0.1, abs=0.02)
    assert found.short_sd < 0.01


def test_long_trials_move_the_long_effect_more_than_the_short_one():
    prior = {MUON: Prior((-0.2, 0.02), (-0.1, 0.05))}
    before, after = Effects(prior), Effects(prior, [seen({MUON: 1.0}, 0.0, horizon=1.0)] * 3)
    moved = [
        abs(getattr(after.of({MUON: 1.0}), h) - getattr(before.of({MUON: 1.0}), h)) for h in ("short", "long")
    ]
    assert moved[1] > 1.3 * moved[0]


def test_two_ideas_in_one_child_share_its_effect_by_what_is_known_of_each():
    sure = {MUON: Prior((-0.2, 0.001), (-0.2, 0.001)), ROTARY: Prior(None, None)}
    effects = Effects(sure, [seen({MUON: 1.0, ROTARY: 1.0}, -0.3)] * 10)
    rotary = effects.of({ROTARY: 1.0}).short
    assert rotary < -0.03
    assert effects.of({MUON: 1.0, ROTARY: 1.0}).short == pytest.approx(-0.3, abs=0.02)


def test_ideas_that_do_not_get_on_are_told_apart_from_ideas_that_do_nothing():
    big = {i: Prior((-0.2, 0.02), (-0.1, 0.02)) for i in (MUON, ROTARY)}
    trials = [seen({MUON: 1.0}, -0.2), seen({ROTARY: 1.0}, -0.2)] * 4
    trials += [seen({ROTARY: 1.0}, -0.02, had={MUON: 1.0})] * 8
    effects = Effects(big, trials)
    assert effects.of({ROTARY: 1.0}).short == pytest.approx(-0.2, abs=0.03)
    assert effects.of({ROTARY: 1.0}, {MUON: 1.0}).short == pytest.approx(-0.02, abs=0.04)


def test_on_a_script_that_is_far_ahead_an_effect_counts_less():
    effects = Effects({MUON: Prior((-0.2, 0.01), None)})
    assert -0.2 < effects.of({MUON: 1.0}, {}, gain=0.5).short < -0.1


def test_a_setting_has_an_optimum_on_the_scale_of_doublings():
    curve = [(0.5, 0.05), (2.0, -0.03), (4.0, 0.0), (8.0, 0.09)]
    effects = Effects({}, [seen({RATE: distance("r", 1.0, v)}, y) for v, y in curve] * 5)
    at = {v: effects.of({RATE: distance("r", 1.0, v)}).short for v, _ in curve}
    assert min(at, key=at.get) == 2.0
    assert effects.of({RATE: 1.0}, {RATE: 2.0}).short > 0  # one more doubling, from 4 to 8


@given(st.integers(0, 10**6))
def test_taking_out_is_the_inverse_of_putting_in(seed):
    chance = random.Random(seed)
    trials = [seen({chance.choice([MUON, ROTARY]): 1.0}, chance.gauss(0, 0.1)) for _ in range(5)]
    effects = Effects({}, trials)
    had = {ROTARY: 1.0}
    there = effects.of({MUON: 1.0}, had)
    back = effects.of({MUON: -1.0}, {**had, MUON: 1.0})
    assert back.short == pytest.approx(-there.short, abs=2e-6)
    assert back.short_sd == pytest.approx(there.short_sd, abs=2e-6)


@pytest.mark.parametrize(
    ("name", "old", "new", "doublings"),
    [
        ("learning_rate", 1e-3, 2e-3, 1),
        ("n_layer", 4, 2, -1),
        ("beta2", 0.99, 0.98, -1),
        ("x", 0, 3, 1),
        ("x", "a", 3, 0),
    ],
)
def test_settings_are_measured_in_doublings(name, old, new, doublings):
    assert distance(name, old, new) == pytest.approx(doublings)


def test_what_a_script_has_follows_its_line_and_its_crossings():
    base = person("base", 0, 2.0, operator="base")
    one = person("one", 1, 1.9, ("base",), techniques=("muon",), settings={"learning_rate": (1, 2)})
    two = person("two", 2, 1.9, ("one",), settings={"learning_rate": (2, 1)})
    cross = person("cross", 3, 1.8, ("two", "one"), techniques=("rotary",), operator="crossover")
    less = person("less", 3, 1.8, ("cross",), without=(MUON,), operator="ablation")
    has = features(family(base, one, two, cross, less).values())
    assert has == {
        "base": {},
        "one": {MUON: 1.0, RATE: 1.0},
        "two": {MUON: 1.0},
        "cross": {MUON: 1.0, ROTARY: 1.0},
        "less": {ROTARY: 1.0},
    }
    assert change_of(less) == {MUON: -1.0}


def test_differences_are_taken_on_shared_seeds_and_long_ones_against_the_base():
    base = person("base", 0, 2.0, seeds=(1, 2), long=1.5, operator="base")
    one = person("one", 1, 1.9, ("base",), techniques=("muon",))
    two = person("two", 2, 1.8, ("one",), seeds=(1, 2), long=1.4, techniques=("rotary",))
    found = {(o.individual, round(o.horizon)): o for o in observations(family(base, one, two))}
    assert found["two", 0].change == {ROTARY: 1.0}
    assert found["two", 0].difference == pytest.approx(-0.1)
    assert found["two", 0].seeds == 1
    assert found["two", 1].change == {MUON: 1.0, ROTARY: 1.0}
    assert found["two", 1].difference == pytest.approx(-0.1)


def test_what_is_kept_of_earlier_trials_changes_nothing():
    """Records come and are replaced as in a run; what a model made of all of them at once says is said at each step."""
    base = person("base", 0, 2.0, operator="base")
    one = person("one", 1, 1.9, ("base",), techniques=("muon",))
    two = person("two", 2, 1.8, ("one",), techniques=("rotary",), settings={"learning_rate": (1, 2)})
    late = person("late", 3, 1.7, ("two",), seeds=(1, 2), long=1.4, techniques=("swiglu", "qk-norm"))
    moments = [
        (base, one),
        (base, one, two),
        (base, one, person("two", 2, 1.8, ("one",), seeds=(1, 2), techniques=("rotary",))),
        (base, one, two, late),
        (person("base", 0, 2.0, seeds=(1, 2), long=1.5, operator="base"), one, two, late),
        (person("base", 0, 2.1, operator="base"), one, two, late),
        (base, person("one", 1, 1.9, ("base",), status=Status.DISQUALIFIED), two, late),
    ]
    kept, tries = {}, {}
    for people in (family(*moment) for moment in moments):
        found = observations(people, kept)
        assert found == observations(people)
        lessons = distil(people.values(), Effects({}, found), tries)
        assert lessons == distil(people.values(), Effects({}, observations(people)))


def test_pairs_that_are_rare_have_no_column_and_of_equal_ones_the_first_seen_stays():
    rows = [
        {(("pair", a, b), "z"): 1.0, (("technique", a), "near"): 2.0} for a, b in ("xy", "vw", "xy", "tu")
    ]
    table = Table.of([Entries.of(row) for row in rows]).with_common("pair", 2)
    assert table.rows.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert table.with_common("pair", 1).rows.tolist() == [0, 0, 1, 2, 2, 3]


def test_lessons_name_the_trials_that_support_and_contradict_them():
    base = person("base", 0, 2.0, operator="base")
    good = [person(f"g{n}", 1 + n, 1.9, ("base",), techniques=("muon",)) for n in range(3)]
    bad = person("bad", 5, 2.1, ("base",), techniques=("muon",))
    failed = person("failed", 6, None, ("base",), techniques=("muon",))
    people = family(base, *good, bad, failed)
    (lesson,) = distil(people.values(), Effects({}, observations(people)))
    assert (lesson.id, lesson.claim, lesson.retired) == (MUON, Claim.HELPS, False)
    assert lesson.supporting == ("g0", "g1", "g2")
    assert lesson.contradicting == ("bad", "failed")
    assert lesson.effect < 0 < lesson.sd
    assert (lesson.tried, lesson.failed) == (5, 1)


def test_an_ablation_that_loses_by_it_supports_what_was_taken_out():
    base = person("base", 0, 2.0, operator="base")
    good = person("good", 1, 1.9, ("base",), techniques=("muon",))
    less = person("less", 1, 2.0, ("good",), without=(MUON,), operator="ablation")
    broken = person("broken", 1, None, ("good",), without=(MUON,), operator="ablation")
    people = family(base, good, less, broken)
    (lesson,) = distil(people.values(), Effects({}, observations(people)))
    assert lesson.supporting == ("good", "less")
    assert (lesson.contradicting, lesson.tried, lesson.failed) == ((), 1, 0)


def test_a_contradicted_lesson_is_retired_and_kept():
    base = person("base", 0, 2.0, operator="base")
    good = person("good", 1, 1.9, ("base",), techniques=("muon",))
    bad = [person(f"b{n}", 2 + n, 2.1, ("base",), techniques=("muon",)) for n in range(3)]
    people = family(base, good, *bad)
    now, before = distil(people.values(), Effects({}, observations(people)))
    assert (now.id, now.claim, now.retired) == (MUON, Claim.HURTS, False)
    assert (before.id, before.claim, before.retired, before.effect) == (
        f"{MUON}:helps",
        Claim.HELPS,
        True,
        None,
    )
    assert before.supporting == ("good",) and before.contradicting == ("b0", "b1", "b2")


def test_steps_grow_while_they_help_and_shrink_when_they_do_not():
    tries = [
        person(f"i{n}", n, 1.0, settings={"rate": (1, 2)}, delta={"parent": d})
        for n, d in enumerate([-1, -1, 1])
    ]
    up = steps(tries[:2])["rate"]
    assert up > FIRST_STEP
    assert FIRST_STEP < up > steps(tries)["rate"]
    assert steps(tries[2:] * 20)["rate"] == LEAST_STEP


def test_a_script_that_was_trained_anew_under_other_conditions_is_compared_with_what_it_was_before():
    """Under a torch that makes everything worse by 1 nat, a child of before is not better for it."""
    base = person("base", 0, 2.0)
    child = person("child", 1, 1.9, parents=("base",), techniques=("muon",))
    (before,) = observations(family(base, child))
    anew = base.trials[0].model_copy(update={"loss": 3.0, "conditions": "another torch"})
    base = base.model_copy(update={"trials": (anew,), "superseded": base.trials})
    (after,) = observations(family(base, child))
    assert after.difference == before.difference == pytest.approx(-0.1)
    later = child.model_copy(
        update={"trials": (child.trials[0].model_copy(update={"loss": 2.9, "conditions": "another torch"}),)}
    )
    (paired,) = observations(family(base, later))
    assert paired.difference == pytest.approx(-0.1)
