"""The larger budget: once per run, shown at the gate and in the closing comparison, and a fading gain is said."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from darwin.closing import fades
from darwin.measure import bill_deviation
from darwin.memory.memory import describe_check
from darwin.memory.records import Check, ComparisonRow
from darwin.screen import Screen
from darwin.tables import show_comparison


def row(budget: str, change: float) -> ComparisonRow:
    return ComparisonRow(
        budget=budget, seeds=(1, 2), base_perplexity=10.0, champion_perplexity=10.0 * (1 + change / 100),
        change_percent=change, interval_percent=(change - 1, change + 1), base_mfu=0.4, champion_mfu=0.4,
    )  # fmt: skip


def test_a_gain_fades_where_less_than_half_is_left():
    assert fades([row("20s", -38.0)]) is None
    assert fades([row("20s", -38.0), row("120s", -6.0)]) is True
    assert fades([row("20s", -38.0), row("120s", -30.0)]) is False


def test_the_champion_is_checked_once_and_both_budgets_are_compared(evolved):
    run, champion = evolved.run, evolved.memory.individuals[evolved.run.champion]
    assert champion.larger is not None and champion.larger.budget == "120s"
    assert [r.budget for r in run.comparison.rows] == ["20s", "120s"]
    assert [len(r.seeds) for r in run.comparison.rows] == [3, 2]
    assert run.test_uses == sum(
        t.split == "test" for i in evolved.memory.individuals.values() for t in i.trials
    )
    trials = [t for t in champion.trials if t.budget == "120s" and t.seed in evolved.seeds("larger", 2)]
    assert sorted(t.split for t in trials) == ["test", "test", "val", "val"]


def test_what_fades_is_said_in_red(evolved):
    comparison = evolved.run.comparison.model_copy(
        update={"rows": (row("20s", -38.0), row("120s", -6.0)), "fades": True}
    )
    screen = Screen(Console(width=100, record=True, force_terminal=True))
    show_comparison(screen, comparison, evolved.memory)
    shown = screen.console.export_text(styles=True)
    assert "\x1b[1;31mThe gain fades with training: -38.0 % at 20s, -6.0 % at 120s" in shown


def test_what_is_only_known_at_the_short_budget_is_marked(evolved):
    champion = evolved.memory.individuals[evolved.run.champion]
    unknown = champion.model_copy(update={"larger": None})
    assert "only known at the short budget" in describe_check(unknown)
    faded = Check(against="g000-base", budget="120s", effect=-0.02, short_effect=-0.3, seeds=(1, 2))
    assert "the gain fades" in describe_check(champion.model_copy(update={"larger": faded}))


def test_how_much_bills_of_equal_work_vary_is_pooled_over_all_scripts_trained_more_than_once(evolved):
    run, base = evolved.run, evolved.base
    one = next(t for t in base.trials if t.budget == run.budget)

    def billed(*seconds):
        trials = [
            one.model_copy(update={"seed": s, "seconds": b, "slowdown": 1.0}) for s, b in enumerate(seconds)
        ]
        return base.model_copy(update={"trials": tuple(trials)})

    assert bill_deviation(run, [billed(20.0), billed(10.0)]) == 0
    assert bill_deviation(run, [billed(20.0, 22.0), billed(40.0, 44.0)]) == pytest.approx(
        math.log(1.1) / math.sqrt(2)
    )
    assert bill_deviation(run, [billed(20.0, 22.0), billed(9.0, 9.0)]) == pytest.approx(math.log(1.1) / 2)


def test_generation_0_measures_luck_and_stores_it(evolved):
    noise = evolved.run.noise
    assert len(noise.seeds) == 5 and noise.df == 4 and noise.deviation > 0
    assert noise.seeds[0] == evolved.seeds("selection", 1)[0]
