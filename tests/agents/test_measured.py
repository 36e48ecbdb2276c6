"""Numbers in front matter are those of bench/knowledge/trials.jsonl, and how they are made of it."""

import importlib
import math
from pathlib import Path
from types import ModuleType

import pytest

from darwin.agents.knowledge import FOLDER, LONG, SHORT, techniques

BENCH = Path(__file__).parents[2] / "bench" / "knowledge"


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("write")


def test_front_matter_says_what_was_measured(write: ModuleType) -> None:
    written = write.fronts()
    assert written.keys() == {technique.id for technique in techniques() if technique.edits}
    for id, expected in written.items():
        lines = (FOLDER / f"{id}.md").read_text(encoding="utf-8").splitlines()
        assert expected == tuple(line for line in lines if line.startswith(("effect: ", "price: ")))


def test_what_is_claimed_was_trained_in_the_sandbox_as_it_is_now(write: ModuleType) -> None:
    done = {(id, horizon) for id, horizon, _ in write.runs()}
    claimed = {
        (technique.id, horizon)
        for technique in techniques()
        for horizon, effect in ((SHORT, technique.short), (LONG, technique.long))
        if effect is not None
    }
    assert claimed <= done


def test_no_technique_failed_in_the_sandbox(write: ModuleType) -> None:
    trials = write.lines(write.genomes())
    assert len(trials) > 1
    assert [trial for trial in trials if trial["status"] != "ok"] == []


def trial(loss: float, seconds: float = 20.0, **more: float) -> dict[str, float]:
    return {"loss": loss, "seconds": seconds, "mfu": 0.5, "tokens_per_second": 1e4, **more}


def test_unequal_bills_are_charged_for(write: ModuleType) -> None:
    done = {
        ("base", SHORT, 1): trial(2.0),
        ("base", LONG, 1): trial(2.0 - 0.2 * math.log(6), 120.0),
        ("even", SHORT, 1): trial(1.9),
        ("dear", SHORT, 1): trial(1.9, 22.0),
    }
    assert write.slope(done) == pytest.approx(0.2)
    found = write.differences(done, SHORT, write.slope(done))
    assert found["even"] == pytest.approx([-0.1])
    assert found["dear"] == pytest.approx([-0.1 + 0.2 * math.log(1.1)])


def test_noise_is_pooled_over_what_several_seeds_tried(write: ModuleType) -> None:
    assert write.deviation({"a": [1.0, 3.0], "b": [0.0, 0.0, 0.0], "c": [9.0]}) == pytest.approx(
        math.sqrt(2 / 3)
    )
    assert write.deviation({"c": [9.0]}) is None


def test_mfu_is_a_difference_of_logs_to_the_base_on_the_same_seed(write: ModuleType) -> None:
    done = {
        ("base", SHORT, 1): trial(2.0),
        ("fast", SHORT, 1): trial(2.0, mfu=0.55),
        ("fast", SHORT, 2): trial(2.0, mfu=9),
    }
    assert write.ratio(done, "fast", SHORT, "mfu") == pytest.approx(math.log(1.1))
