"""What a budget buys: printed budgets parse, and whatever a script's cost does, it gains no time by it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darwin.sandbox.budget import MARGIN, OVER, Budget, BudgetError, Unit, believed, guess
from darwin.sandbox.forecast import FAR
from darwin.sandbox.limits import Limits
from darwin.sandbox.session import Failed, Inspected, Report
from darwin.sandbox.training import Training

STEP = 768  # tokens
LINEAR = 20 / 245_000  # seconds a token


@given(
    st.sampled_from(["20s", "0.5s", "200ktok", "2Mtok", "1TFLOP", "3.5GFLOP", "1000ktok"]), st.integers(1, 9)
)
def test_a_printed_budget_parses(text, factor):
    budget = Budget.parse(text).times(factor)
    assert Budget.parse(str(budget)).amount == pytest.approx(budget.amount)
    assert Budget.parse(str(budget)).unit is budget.unit


def test_the_larger_budget_is_written_as_a_person_would():
    assert [str(Budget.parse(t).times(6)) for t in ("20s", "200ktok", "1TFLOP")] == [
        "120s",
        "1200ktok",
        "6TFLOP",
    ]


@pytest.mark.parametrize(("text", "words"), [("20", "has no unit"), ("much", "cannot be read"), ("0s", "is nothing"),
                                             ("5ks", "cannot be read"), ("-3s", "cannot be read")])  # fmt: skip
def test_a_budget_that_is_none_is_named(text, words):
    with pytest.raises(BudgetError, match=words):
        Budget.parse(text)


class Script:
    """A session whose runs cost what ``cost`` says of their tokens, in seconds; the first one ``cold``, if given.

    ``claims`` is what it says of its progress: the tokens so far, by default as they are; None says nothing. ``runs``
    are the tokens of all runs that came to their end, ``stopped`` what was spent on those that did not.
    """

    def __init__(self, cost, cold=None, claims=lambda done: done):
        self.cost, self.cold, self.claims, self.runs, self.stopped = cost, cold, claims, [], []

    def train(self, phase, data, seed, tokens, cpu_seconds, progress=None):
        whole, self.cold = self.cold or self.cost(tokens), None
        for done in (STEP, *range(2 * STEP, tokens, max(STEP, tokens // 50))):
            spent = whole * self.cost(done) / self.cost(tokens)
            if phase == "train" and self.claims and progress(self.claims(done), spent):
                self.stopped.append(spent)
                return Report(None, 9, "host", spent, spent, 0, "", {}, memoryview(b""), None)
        if phase == "train":
            self.runs.append(tokens)
        return Report(0, None, None, whole, whole, 0, "", {}, memoryview(b""), None)

    def check(self, phase, report, cpu_seconds):
        assert report.stopped is None


def train(
    cost, budget: str = "20s", parent: int | None = None, deviation: float = 0.0, **script
) -> tuple[Training, Script]:
    script = Script(cost, **script)
    training = Training(script, Limits(), "cpu", None, 1, {})
    training.to_budget(Budget.parse(budget), Inspected(1, 5e6, "x"), 2048, parent, deviation)
    return training, script


def dear_later(tokens):
    """The first 60,000 tokens at the usual price, then three times it."""
    return 0.15 + LINEAR * (min(tokens, 60_000) + 3 * max(0, tokens - 60_000))


COSTS = {
    "the base": lambda tokens: 0.15 + LINEAR * tokens,
    "five times slower": lambda tokens: 0.15 + 5 * LINEAR * tokens,
    "a table at import": lambda tokens: 6 + LINEAR * tokens,
    "dear first steps": lambda tokens: 0.15 + LINEAR * (tokens + 3 * min(tokens, 5000)),
}
TRICKS = {
    "cheap first steps, dear later ones": dear_later,
    "a table in long runs only": lambda tokens: 0.15 + LINEAR * tokens + 4 * (tokens > 50_000),
    "a burner that starts late": lambda tokens: 0.15 + LINEAR * (tokens + 2 * max(0, tokens - 150_000)),
}


@pytest.mark.parametrize("name", COSTS)
def test_bills_are_within_5_percent_after_at_most_one_correction(name):
    training, script = train(COSTS[name])
    assert len(script.runs) <= 2
    assert abs(training.measured["seconds"] / 20 - 1) <= MARGIN, training.measured
    assert training.measured["tokens"] == script.runs[-1]


@pytest.mark.parametrize("cold", [0.4, 0.6, 0.9, 1.5, 3.0, 8.0])
def test_a_cold_first_run_misleads_nobody(cold):
    """On a fresh machine a run pays for what later ones find in memory."""
    training, script = train(COSTS["the base"], "10s", cold=cold)
    assert len(script.runs) <= 2 and max(script.runs) < 2 * script.runs[-1]
    assert abs(training.measured["seconds"] / 10 - 1) <= MARGIN, training.measured


RIGHT = round((20 - 0.15) / LINEAR)
"""Tokens that 20 s buy the base."""


def test_a_child_as_dear_as_its_parent_is_trained_once_and_without_a_rehearsal():
    training, script = train(COSTS["the base"], parent=RIGHT)
    assert script.runs == [RIGHT] and script.stopped == []
    assert abs(training.measured["seconds"] / 20 - 1) <= MARGIN


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("times", [0.25, 0.5, 0.7, 1.4, 3])
def test_a_child_of_another_price_is_stopped_early_and_ends_within_5_percent(times, name):
    parent = round(times * RIGHT)
    training, script = train(COSTS[name], parent=parent)
    assert len(script.runs) <= 2
    assert bool(script.stopped) == (abs(COSTS[name](parent) / 20 - 1) > FAR)
    assert sum(script.stopped) < 0.7 * 20
    assert abs(training.measured["seconds"] / 20 - 1) <= MARGIN, training.measured


@pytest.mark.parametrize("times", [0.9, 1.1])
def test_a_child_of_about_its_parents_price_is_corrected_once(times):
    training, script = train(COSTS["the base"], parent=round(times * RIGHT))
    assert len(script.runs) == 2 and script.stopped == []
    assert abs(training.measured["seconds"] / 20 - 1) <= MARGIN


@pytest.mark.parametrize(
    ("deviation", "off", "runs"), [(0.01, 1.07, 2), (0.04, 1.07, 1), (0.04, 1.14, 2), (0.5, 1.19, 1)]
)
def test_a_bill_that_luck_explains_corrects_nothing(deviation, off, runs):
    script = train(COSTS["the base"], parent=round(off * RIGHT), deviation=deviation)[1]
    assert len(script.runs) == runs


@given(st.floats(-3, 3), st.floats(0, 0.2))
def test_what_is_believed_lies_between_nothing_and_what_the_bill_says(off, deviation):
    assert min(off, 0.0) - 1e-9 <= believed(off, deviation) <= max(off, 0.0) + 1e-9
    assert believed(off, 0.0) == pytest.approx(off)
    assert abs(believed(off, 0.1)) <= abs(believed(off, 0.05)) + 1e-9


@pytest.mark.parametrize(
    "claims",
    [None, lambda done: 0, lambda done: -done, lambda done: done / 3, lambda done: 3 * done, lambda done: 1e18,
     lambda done: 20_000 * (done > 50_000)],
)  # fmt: skip
@pytest.mark.parametrize("times", [0.4, 1, 3])
def test_whatever_it_claims_of_its_progress_it_trains_for_as_long_as_others(times, claims):
    training, script = train(COSTS["the base"], parent=round(times * RIGHT), claims=claims)
    assert len(script.runs) <= 2 and len(script.stopped) <= 1
    assert abs(training.measured["seconds"] / 20 - 1) <= MARGIN, training.measured


@pytest.mark.parametrize("parent", [None, RIGHT])
@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_with_the_clock_gains_no_time(name, parent):
    training, script = train(TRICKS[name], parent=parent)
    assert len(script.runs) <= 2
    assert training.measured["seconds"] <= 20 * (1 + MARGIN)


@pytest.mark.parametrize(
    "cost",
    [lambda tokens: 40.0 if tokens > 40_000 else 0.15 + LINEAR * tokens,  # --max_tokens ignored, once it is long
     lambda tokens: 30.0],
)  # fmt: skip
def test_a_script_whose_cost_does_not_follow_its_tokens_is_over_budget(cost):
    with pytest.raises(Failed) as failed:
        train(cost)
    assert failed.value.status == "over_budget"


def test_token_and_flop_budgets_need_no_timing():
    assert train(COSTS["the base"], "200ktok")[1].runs == [200_000]
    assert train(COSTS["the base"], "1TFLOP")[1].runs == [200_000]


@given(st.floats(0, 5), st.floats(1e-6, 1e-2), st.integers(2048, 40_000), st.floats(1, 100))
def test_a_guess_is_exact_where_the_cost_is_a_line(start, per_token, many, seconds):
    few = many // 2
    points = (few, start + per_token * few), (many, start + per_token * many)
    found = guess(seconds, points)
    plain = many * seconds / points[1][1]
    exact = (seconds - start) / per_token
    if plain / 8 + 1 < exact < 16 * plain - 1 and per_token * (many - few) > 0.02 * points[1][1]:
        assert found == pytest.approx(exact, abs=1.5, rel=1e-6)
    assert found >= 1 and math.isfinite(found)


def test_the_units_are_what_the_command_line_says():
    assert {unit.value for unit in Unit} == {"s", "tok", "FLOP"} and MARGIN < OVER
