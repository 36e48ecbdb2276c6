"""What a budget buys: printed budgets parse, and whatever a script's cost does, it gains no time by it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darwin.sandbox.budget import MARGIN, OVER, Budget, BudgetError, Unit, guess
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
    """A session whose runs cost what ``cost`` says of their tokens, in seconds; the first one ``cold``, if given, and
    all rehearsals ``burst`` times as much."""

    def __init__(self, cost, cold=None, burst=1.0):
        self.cost, self.cold, self.burst, self.runs = cost, cold, burst, []

    def train(self, phase, data, seed, tokens, cpu_seconds):
        seconds, self.cold = self.cold or self.cost(tokens), None
        if phase == "train":
            self.runs.append(tokens)
        else:
            seconds *= self.burst
        return Report(0, None, None, seconds, seconds, 0, "", {}, memoryview(b""), None)

    def check(self, phase, report, cpu_seconds):
        pass


def train(cost, budget: str = "20s", parent: int | None = None, **script) -> tuple[Training, Script]:
    script = Script(cost, **script)
    training = Training(script, Limits(), "cpu", None, 1, {})
    training.to_budget(Budget.parse(budget), Inspected(1, 5e6, "x"), 2048, parent)
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


@pytest.mark.parametrize("burst", [0.93, 1.08])
def test_a_rehearsal_on_a_busy_moment_is_set_right_by_a_parent_of_the_same_price(burst):
    right = round((20 - 0.15) / LINEAR)
    assert len(train(COSTS["the base"], burst=burst)[1].runs) == 2
    training, script = train(COSTS["the base"], burst=burst, parent=right)
    assert script.runs == [training.measured["tokens"]]
    assert abs(training.measured["seconds"] / 20 - 1) <= MARGIN


@pytest.mark.parametrize("times", [0.2, 0.8, 1.3, 5])
def test_a_parent_of_another_price_changes_nothing(times):
    alone = train(COSTS["the base"])[1].runs
    assert train(COSTS["the base"], parent=round(times * alone[0]))[1].runs == alone


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_with_the_clock_gains_no_time(name):
    training, script = train(TRICKS[name])
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
