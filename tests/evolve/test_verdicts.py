"""Verdicts: paired seeds, looks, boundaries; what makes a contender, and what is no verdict at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darwin import verdicts
from darwin.memory.records import Individual, Noise, Outcome, Run, Status, Trial
from darwin.verdicts import Pair, Spread, interval, judge

KNOWN = Spread(0.007, 24)


def pairs(*differences: float, bills: tuple[float, float] | None = None) -> list[Pair]:
    return [Pair(n, 2.0 + d, 2.0, bills) for n, d in enumerate(differences)]


def individual(name: str, losses: dict[int, float], **more) -> Individual:
    trials = tuple(Trial(seed=s, split="val", budget="20s", tokens=1, loss=x) for s, x in losses.items())
    return Individual(
        id=name, ordinal=0, generation=1, commit=name, tree="t", code="x", operator="mutation",
        status=Status.TRAINED, trials=trials, **more,
    )  # fmt: skip


def run_with(deviation: float = 0.005, **more) -> Run:
    noise = Noise(seeds=(1, 2, 3, 4, 5), deviation=deviation, df=4)
    return Run(
        seed=1, agents=(), budget="20s", tokens=1, batch=2, device="cpu", dataset="d", dataset_name="d", torch="2",
        peak_flops=1.0, main="c", incumbent="base", noise=noise, **{"population": {"Ada": "child"}, **more},
    )  # fmt: skip


def test_trials_under_different_conditions_are_no_pair():
    mine, theirs = individual("a", {1: 2.0, 2: 2.1}), individual("b", {1: 1.9, 2: 2.2})
    assert [p.seed for p in verdicts.paired(mine, theirs, (1, 2), "val", "20s")] == [1, 2]
    marked = [
        t.model_copy(update={"conditions": f"torch {t.seed}, 1 thread, cpu, process"}) for t in mine.trials
    ]
    other = [t.model_copy(update={"conditions": "torch 2, 1 thread, cpu, process"}) for t in theirs.trials]
    mine, theirs = (i.model_copy(update={"trials": tuple(t)}) for i, t in ((mine, marked), (theirs, other)))
    assert [p.seed for p in verdicts.paired(mine, theirs, (1, 2), "val", "20s")] == [2]


@given(st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=5))
def test_a_verdict_flips_with_its_sides(differences):
    mine = judge("x", pairs(*differences), KNOWN)
    theirs = judge("x", pairs(*(-d for d in differences)), KNOWN)
    assert theirs.effect == pytest.approx(-mine.effect, abs=1e-12)
    assert (mine.outcome is Outcome.BETTER) <= (theirs.outcome is Outcome.WORSE)


def test_one_pair_is_enough_where_luck_is_well_known_and_three_where_it_is_not():
    assert judge("x", pairs(-0.1), KNOWN).outcome is Outcome.BETTER
    early = judge("x", pairs(-0.3), Spread(0.007, 8))
    assert early.outcome is Outcome.UNDECIDED and "three pairs are needed" in early.note
    assert judge("x", pairs(-0.3, -0.3, -0.3), Spread(0.007, 8)).outcome is Outcome.BETTER


def test_a_small_effect_that_pairs_well_is_found_by_its_own_deviation():
    noisy = Spread(0.02, 24)
    assert judge("x", pairs(-0.015, -0.025, -0.02), noisy).outcome is Outcome.UNDECIDED
    assert judge("x", pairs(-0.019, -0.021, -0.02, -0.02, -0.02), noisy).outcome is Outcome.BETTER
    assert judge("x", pairs(-0.04, 0.0, -0.02, -0.03, -0.01), noisy).outcome is Outcome.UNDECIDED


def test_the_effect_has_to_matter():
    small = judge("x", pairs(-0.004, -0.0041, -0.0039, -0.004, -0.004), KNOWN)
    assert small.outcome is Outcome.UNDECIDED and "below the 0.5%" in small.note
    assert verdicts.hopeless(judge("x", pairs(0.02), KNOWN)) is False
    assert verdicts.hopeless(judge("x", pairs(0.015, 0.001, 0.008, 0.014, 0.002), KNOWN))


def test_who_trained_for_more_than_5_percent_longer_wins_only_what_that_cannot_explain():
    for sign, bills in ((-1, (21.2, 20.0)), (1, (20.0, 21.2))):
        differences = [sign * 0.1] * 3
        unequal = judge("x", pairs(*differences, bills=bills), KNOWN)
        assert unequal.outcome is Outcome.UNDECIDED and "trained for longer" in unequal.note
        in_spite = judge("x", pairs(*differences, bills=bills[::-1]), KNOWN)
        assert in_spite.outcome is (Outcome.BETTER if sign < 0 else Outcome.WORSE)
        for slope, outcome in ((0.7, Outcome.UNDECIDED), (0.3, in_spite.outcome)):  # charged three times
            assert judge("x", pairs(*differences, bills=bills), KNOWN, per_log_time=slope).outcome is outcome
    equal = judge("x", pairs(-0.1, -0.1, -0.1, bills=(20.8, 20.0)), KNOWN)
    assert equal.outcome is Outcome.BETTER


def test_longer_training_within_the_margin_is_charged_for():
    free = judge("x", pairs(-0.1, bills=(20.8, 20.0)), KNOWN)
    charged = judge("x", pairs(-0.1, bills=(20.8, 20.0)), KNOWN, per_log_time=0.4)
    assert charged.effect - free.effect == pytest.approx(0.4 * math.log(1.04))


def test_the_error_of_a_run_is_spent_over_verdicts_and_looks():
    from scipy.special import stdtr

    spent = sum(
        1 - stdtr(20, verdicts.boundary(look, number, 20, share))
        for number in range(1, 2000)
        for look in range(len(verdicts.LOOKS))
        for share in (verdicts.OWN_SHARE, 1 - verdicts.OWN_SHARE)
    )
    assert 0.0099 < spent <= verdicts.RUN_ERROR


def test_luck_is_pooled_over_the_base_and_all_that_met_an_incumbent():
    verdict = judge("base", pairs(0, 0, 0), KNOWN).model_copy(update={"seeds": (1, 2, 3)})
    base = individual("base", {1: 2.0, 2: 2.0, 3: 2.0})
    child = individual("child", {1: 1.9, 2: 1.91, 3: 1.92}, verdict=verdict)
    found = verdicts.spread(run_with(0.005), {"base": base, "child": child})
    assert found.df == 4 + 2
    assert found.deviation == pytest.approx(math.sqrt((2 * 0.005**2 * 4 + 2 * 0.01**2) / 6))


def test_a_contender_leads_by_two_deviations_on_the_seed_that_chose_it():
    base, run = individual("base", {1: 2.0}), run_with(0.005)
    two = 2 * verdicts.PAIRED * math.sqrt(2) * 0.005
    for lead, chosen in ((0.9 * two, False), (1.1 * two, True)):
        child = individual("child", {1: 2.0 - lead})
        assert (verdicts.contender(run, {"base": base, "child": child}) is not None) is chosen


def test_verdicts_get_a_quarter_as_many_trials_as_there_were_children():
    verdict = judge("base", pairs(0, 0, 0), KNOWN)
    people = {"a": individual("a", {}, verdict=verdict), "b": individual("b", {})}
    assert verdicts.affordable(run_with(settled=8), people, people["b"]) == 2 + 8 // 4 - 3
    assert verdicts.affordable(run_with(settled=8), people, people["a"]) == 2 + 8 // 4


def test_an_interval_is_students():
    low, high = interval([-0.10, -0.12, -0.11], 0.98)
    assert (low, high) == (
        pytest.approx(-0.11 - 6.9646 * 0.01 / 3**0.5, abs=1e-4),
        pytest.approx(-0.0698, abs=1e-4),
    )
