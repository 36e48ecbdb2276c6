"""What a rule-based agent draws: deterministic, sane, and drawn to what has worked."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darwin.agents.inside import rules

SETTINGS: dict[str, float] = {
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.1,
    "dropout": 0.0,
    "warmup_fraction": 0.05,
    "n_layer": 4,
    "n_head": 4,
    "n_embd": 128,
    "mlp_ratio": 4.0,
    "batch_size": 12,
    "block_size": 64,
    "seed": 1,
}


def technique(id: str, family: str = "attention", conflicts: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"id": id, "title": id.title(), "family": family, "conflicts": list(conflicts)}


def belief(long: float, long_sd: float = 0.02, short: float | None = None, **more: float) -> dict[str, float]:
    found = {"short": long if short is None else short, "short_sd": 0.02, "long": long, "long_sd": long_sd}
    return {**found, "mfu": 0.0, "mfu_sd": 0.01, "tried": 0, **more}


def question(**fields: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "seed": 1,
        "child": "g001-ada-1",
        "attempt": 0,
        "generation": 1,
        "aim": "perplexity",
        "temperament": "tuner",
        "context": 64,
        "techniques": [technique("good"), technique("poor")],
        "settings": SETTINGS,
        "fixed": ["seed"],
        "beliefs": {},
        "own": {},
    }
    task = defaults | fields
    task.setdefault("steps", dict.fromkeys(task["settings"], 1.0))
    known = {f"setting:{name}:{way}": belief(0.01) for name in task["settings"] for way in ("up", "down")}
    known |= {f"technique:{one['id']}": belief(0.0) for one in task["techniques"]}
    known |= {"technique:good": belief(-0.1), "technique:poor": belief(-0.07)}
    return task | {"beliefs": known | task["beliefs"]}


def drawn(**fields: Any) -> Counter[str]:
    """How often each idea is the first to be chosen in 400 attempts."""
    count: Counter[str] = Counter()
    for attempt in range(400):
        answer = rules.choose(question(attempt=attempt, **fields))
        count.update([*answer["techniques"], *answer["settings"]][:1])
    return count


@pytest.mark.parametrize("temperament", rules.TEMPERAMENTS)
def test_equal_tasks_give_equal_answers_that_are_json(temperament: str) -> None:
    task = question(temperament=temperament)
    answer = rules.choose(json.loads(json.dumps(task)))
    assert answer == rules.choose(task) == json.loads(json.dumps(answer))


@pytest.mark.parametrize("field", ["seed", "child", "attempt"])
def test_seed_child_and_attempt_each_change_the_draw(field: str) -> None:
    answers = {json.dumps(rules.choose(question(**{field: value}))) for value in range(30)}
    assert len(answers) > 3


def test_a_promising_idea_is_drawn_most_and_none_never() -> None:
    count = drawn(settings={})
    assert count["good"] > 2 * count["poor"] > 0


def test_an_idea_that_people_turned_down_is_chosen_less_often() -> None:
    equal = {"technique:good": belief(-0.08), "technique:poor": belief(-0.08)}
    counts = [
        drawn(settings={}, beliefs=equal, rejected={"technique:good": times} if times else {})["good"]
        for times in (0, 1, 2)
    ]
    assert 160 < counts[0] < 240, "two equal ideas"
    assert counts[1] < 0.3 * counts[0] and counts[2] <= counts[1]


def test_an_unsure_idea_is_tried_though_another_looks_better() -> None:
    sure, unsure = belief(-0.05, 0.01), belief(-0.03, 0.1)
    count = drawn(settings={}, beliefs={"technique:good": sure, "technique:poor": unsure})
    assert count["poor"] > 100


def test_what_only_wins_short_trials_is_not_tried_while_anything_else_is_left() -> None:
    flattered = {"technique:good": belief(0.05, 0.02, short=-0.4)}
    assert drawn(settings={}, beliefs=flattered)["good"] == 0
    alone = rules.choose(question(settings={}, techniques=[technique("good")], beliefs=flattered))
    assert alone["techniques"] == ["good"]


def test_the_long_horizon_decides_not_the_short_one() -> None:
    short = {"technique:good": belief(-0.01, short=-0.3), "technique:poor": belief(-0.1, short=-0.01)}
    count = drawn(settings={}, beliefs=short)
    assert count["poor"] > 5 * count["good"]


def test_an_agent_whose_own_trials_failed_turns_away() -> None:
    failed = {"technique:good": {"tried": 4, "failed": 4}}
    assert drawn(settings={}, own=failed)["good"] < 0.3 * drawn(settings={})["good"]


@pytest.mark.parametrize(
    ("generation", "shares"), [(1, (0.4, 0.35, 0.25)), (3, (0.4, 0.35, 0.25)), (4, (0.7, 0.2, 0.1))]
)
def test_one_to_three_ideas_a_child(generation: int, shares: tuple[float, ...]) -> None:
    many = [technique(f"t{n}") for n in range(9)]
    sure = {f"technique:t{n}": belief(-0.1) for n in range(9)}
    sizes = Counter(
        len(
            rules.choose(
                question(techniques=many, settings={}, beliefs=sure, attempt=n, generation=generation)
            )["techniques"]
        )
        for n in range(1500)
    )
    for size, share in zip((1, 2, 3), shares, strict=True):
        assert sizes[size] / 1500 == pytest.approx(share, abs=0.04)


def test_a_second_idea_must_look_like_help() -> None:
    beliefs = {"technique:good": belief(-0.1, 0.001), "technique:poor": belief(0.1, 0.001)}
    for attempt in range(50):
        answer = rules.choose(question(settings={}, beliefs=beliefs, attempt=attempt))
        assert answer["techniques"] == ["good"]


def test_rivals_are_never_chosen_together() -> None:
    three = [technique("a", conflicts=("b",)), technique("b"), technique("c")]
    sure = {f"technique:{id}": belief(-0.1) for id in "abc"}
    for attempt in range(80):
        answer = rules.choose(question(attempt=attempt, techniques=three, settings={}, beliefs=sure))
        assert not {"a", "b"} <= set(answer["techniques"])


def test_an_optimizer_mind_prefers_optimizers() -> None:
    both = [technique("muon", "optimizer"), technique("norm", "attention")]
    equal = {"technique:muon": belief(-0.05), "technique:norm": belief(-0.05)}
    count = drawn(temperament="optimizer-minded", techniques=both, settings={}, beliefs=equal)
    assert count["muon"] > 1.3 * count["norm"]


def test_who_aims_at_mfu_takes_what_is_fast_and_costs_no_perplexity() -> None:
    both = {"technique:good": belief(-0.2, mfu=-0.1), "technique:poor": belief(0.0, mfu=0.1)}
    assert drawn(aim="mfu", settings={}, beliefs=both)["poor"] > 390
    dear = {**both, "technique:poor": belief(0.2, mfu=0.1)}
    assert drawn(aim="mfu", settings={}, beliefs=dear)["poor"] < 10


def test_who_aims_at_mfu_tries_nothing_of_which_nobody_knows_whether_it_raises_it() -> None:
    sure = {"technique:good": belief(-0.1, mfu=0.05), "technique:poor": belief(-0.1)}
    unsure = {key: value | {"mfu_sd": 5.0} for key, value in (("technique:poor", belief(-0.1)),)}
    assert drawn(aim="mfu", settings={"n_embd": 128}, beliefs=sure | unsure) == {"good": 400}


def test_the_step_is_the_one_it_was_given() -> None:
    only = question(
        techniques=[], settings={"learning_rate": 1e-3}, steps={"learning_rate": 0.5}, temperament="tuner"
    )
    assert rules.choose(only)["settings"]["learning_rate"] in (0.00141, 0.000707)


@pytest.mark.parametrize("temperament", rules.TEMPERAMENTS)
def test_no_setting_is_drawn_that_cannot_train(temperament: str) -> None:
    for attempt in range(300):
        task = question(temperament=temperament, attempt=attempt, techniques=[])
        changed = rules.choose(task)["settings"]
        assert changed
        after = SETTINGS | changed
        assert not changed.keys() & {"seed", "dropout"}
        assert after["n_embd"] % after["n_head"] == 0
        assert after["block_size"] >= 64
        assert 0 < after["beta1"] < 1
        assert 0 < after["warmup_fraction"] < 1
        assert all(type(value) is type(SETTINGS[name]) for name, value in changed.items())
        assert all(value != SETTINGS[name] for name, value in changed.items())


@given(st.sampled_from(sorted(SETTINGS)), st.sampled_from([0.3, 0.5, 0.7, 1.4, 2.0, 3.0]))
def test_a_step_moves_the_right_way_and_keeps_the_kind(name: str, factor: float) -> None:
    value = SETTINGS[name]
    new = rules.stepped(name, value, factor)
    assert type(new) is type(value)
    assert new == value == 0 or (new > value) == (factor > 1)


def test_with_nothing_to_choose_it_chooses_nothing() -> None:
    answer = rules.choose(question(techniques=[], settings={}))
    assert answer == {"techniques": [], "settings": {}, "hypothesis": "", "at_limit": None}


def test_the_reason_names_what_was_known() -> None:
    seen = {"technique:good": belief(-0.1, tried=1)}
    answer = rules.choose(question(techniques=[technique("good")], settings={}, beliefs=seen))
    assert answer["hypothesis"] == (
        "Good: expected to change log perplexity by -0.100 (± 0.020), at six times the budget by -0.100 (± 0.020), "
        "by 1 trial and the prior."
    )
