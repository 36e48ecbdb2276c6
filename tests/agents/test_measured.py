"""Numbers in front matter are those of bench/knowledge/trials.jsonl, and how they are made of it."""

import importlib
import math
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from darwin.agents.knowledge import FOLDER, LONG, SHORT, techniques

BENCH = Path(__file__).parents[2] / "bench" / "knowledge"


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


@pytest.fixture
def write(found: None) -> ModuleType:
    return importlib.import_module("write")


def test_front_matter_says_what_was_measured(write: ModuleType) -> None:
    written = write.fronts()
    assert written.keys() == {technique.id for technique in techniques() if technique.edits}
    for id, expected in written.items():
        lines = (FOLDER / f"{id}.md").read_text(encoding="utf-8").splitlines()
        assert expected == tuple(line for line in lines if line.startswith(("effect: ", "price: ")))


def test_what_is_claimed_was_trained_in_the_sandbox_as_it_is_now(write: ModuleType) -> None:
    done = {(id, horizon) for id, horizon, _ in write.runs()}
    claimed = set()
    for technique in techniques():
        effect = yaml.safe_load((FOLDER / f"{technique.id}.md").read_text().split("---")[1])["effect"]
        claimed |= {(technique.id, horizon) for horizon in effect.keys() & {SHORT, LONG}}
    assert claimed <= done


def test_no_technique_failed_in_the_sandbox(write: ModuleType) -> None:
    trials = write.lines(write.TRIALS, write.genomes())
    assert len(trials) > 1
    assert [trial for trial in trials if trial["status"] != "ok"] == []


def test_a_trial_takes_the_tokens_that_the_bases_time_buys_it() -> None:
    measure = importlib.import_module("measure")
    done = [{"technique": "base", "horizon": SHORT, "seed": 1, "tokens": 1_000}]
    assert measure.tokens_for(SHORT, "base", 1, [], {}) is None
    assert measure.tokens_for(SHORT, "dear", 1, done, {"dear": 1.25}) == 800
    assert measure.tokens_for(LONG, "base", 2, done, {}) == 6_000


def test_a_price_leaves_out_starting_up_and_what_other_work_adds() -> None:
    measure = importlib.import_module("measure")
    line = {"seconds": [2.5, 2.3, 9.0], "start_seconds": [0.3, 0.4], "base_seconds": [5.0, 1.2]}
    line |= {"base_start_seconds": [0.2, 0.7]}
    assert measure.price(line) == pytest.approx(2.0)


def test_a_difference_is_taken_to_the_base_on_the_same_seed(write: ModuleType) -> None:
    losses = {("base", 1): 2.0, ("base", 2): 3.0, ("new", 1): 1.9, ("new", 2): 3.3, ("new", 3): 9.0}
    done = {(id, SHORT, seed): {"loss": loss} for (id, seed), loss in losses.items()}
    assert write.differences(done, SHORT) == {"new": pytest.approx([-0.1, 0.3])}


def test_noise_is_pooled_over_what_several_seeds_tried(write: ModuleType) -> None:
    assert write.deviation({"a": [1.0, 3.0], "b": [0.0, 0.0, 0.0], "c": [9.0]}) == pytest.approx(
        math.sqrt(2 / 3)
    )
    assert write.deviation({"c": [9.0]}) is None


def test_mfu_rises_with_flops_and_falls_with_price(write: ModuleType) -> None:
    line, base = {"flops_per_token": 6e6}, {"flops_per_token": 5e6}
    assert write.mfu([(line, base)], 1.2) == pytest.approx(0.0)
    assert write.mfu([(base, base)], 0.5) == pytest.approx(math.log(2))
