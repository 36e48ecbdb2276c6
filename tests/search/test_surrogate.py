"""The surrogate and the loop over it, from a few sets that were really measured (measured.jsonl, by measure.py)."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from darwin.agents import knowledge

BENCH = Path(__file__).parents[2] / "bench" / "search"
MEASURED = Path(__file__).with_name("measured.jsonl")


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    yield
    for name in ("surrogate", "world", "run", "measure"):
        sys.modules.pop(name, None)


@pytest.fixture
def model(bench):
    import surrogate

    return surrogate.fit(surrogate.read(MEASURED))


def test_it_gives_back_the_base_and_about_what_was_measured(model):
    import surrogate

    lines = surrogate.read(MEASURED)
    assert model.gain({}, 1) == model.gain({}, 6) == 0
    for line in lines:
        if line["horizon"] == "short" and line["seed"] == 1:
            gain = model.base[1] - line["loss"]
            assert model.gain(surrogate.features_of(line), 1) == pytest.approx(gain, abs=0.03)


def test_equal_trials_are_equal_and_luck_is_shared_by_seed(model):
    assert model.loss({}, 1, 7, "a") == model.loss({}, 1, 7, "a") != model.loss({}, 1, 8, "a")
    same, other = (
        [abs(model.loss({}, 1, s, "a") - model.loss({}, 1, t, "b")) for s in range(99)] for t in (0, 1)
    )
    pairs = [abs(model.loss({}, 1, s, "a") - model.loss({}, 1, s, "b")) for s in range(99)]
    assert sum(pairs) < sum(same)
    assert other != same


def test_a_gain_is_squeezed_below_its_ceiling_and_back():
    import surrogate

    for gain in (-0.3, 0.0, 0.2, 0.7):
        assert surrogate.squeezed(surrogate.stretched(gain, 0.8), 0.8) == pytest.approx(gain)
    assert surrogate.squeezed(99, 0.8) == pytest.approx(0.8)


def test_pairs_that_do_not_get_on_are_learnt():
    import surrogate

    a, b = "technique:a", "technique:b"
    rows = [{a: 1.0}, {b: 1.0}, {a: 1.0, b: 1.0}] * 6
    fit = surrogate.best_fit(rows, [0.2, 0.2, 0.22] * 6)
    assert fit.gain({a: 1.0, b: 1.0}) == pytest.approx(0.22, abs=0.03)
    assert fit.loo < 0.03


def test_the_real_loop_runs_over_it_and_equal_seeds_end_equally(model):
    import world

    first, again = (world.outcome(world.begin(model, 3), 2) for _ in range(2))
    assert first == again
    assert first["children"] == 12 and first["cpu_seconds"] > 12 * world.COST[1]
    assert world.outcome(world.begin(model, 4, "greedy"), 2)["champion"] != first["champion"]


def test_the_plant_is_a_technique_that_wins_short_trials_alone(model, monkeypatch):
    import run
    import world

    monkeypatch.setattr(knowledge, "FOLDER", knowledge.FOLDER)
    try:
        run.plant()
        assert any(t.id == run.PLANTED for t in knowledge.techniques())
        model.planted = {f"technique:{run.PLANTED}": run.PLANT}
        has = {f"technique:{run.PLANTED}": 1.0}
        assert math.expm1(-model.gain(has, 1)) == pytest.approx(-0.25)
        assert model.gain(has, 6) == 0
        assert world.outcome(world.begin(model, 1), 1)["children"] == 6
    finally:
        monkeypatch.undo()
        knowledge.techniques.cache_clear()


def test_random_sets_are_the_same_whoever_draws_them_and_can_join(model):
    import measure

    from darwin.begin import ANCESTOR

    base = {name: (ANCESTOR / name).read_text() for name in ("model.py", "train.py")}
    for number in range(12):
        files, joined, changed = measure.drawn(number, base)
        assert measure.drawn(number, base) == (files, joined, changed)
        assert joined and knowledge.rivals([t.id for t in joined]) is None
        assert (files != base) and all(old != new for old, new in changed.values())
