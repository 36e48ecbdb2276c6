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


def technique(
    id: str, effect: float, family: str = "attention", conflicts: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "id": id,
        "title": id.title(),
        "family": family,
        "effect": effect,
        "price": 1.0,
        "conflicts": list(conflicts),
    }


def question(**fields: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "seed": 1,
        "child": "g001-ada-1",
        "attempt": 0,
        "temperament": "contrarian",
        "context": 64,
        "techniques": [technique("good", -0.1), technique("poor", 0.05)],
        "settings": SETTINGS,
        "fixed": ["seed"],
        "lessons": {},
        "own": {},
    }
    return defaults | fields


def drawn(**fields: Any) -> Counter[str]:
    """How often each idea is drawn in 400 attempts."""
    count: Counter[str] = Counter()
    for attempt in range(400):
        answer = rules.choose(question(attempt=attempt, **fields))
        count.update([*answer["techniques"], *answer["settings"]][:1])  # the first is drawn from all
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
    assert count["good"] > 3 * count["poor"] > 0


def test_a_lesson_of_harm_weighs_more_than_the_prior() -> None:
    harm = {"technique:good": {"effect": 0.1, "tried": 3, "failed": 0}}
    assert drawn(settings={}, lessons=harm)["good"] < 0.7 * drawn(settings={})["good"]


def test_a_lesson_of_help_lifts_a_poor_prior() -> None:
    help = {"technique:poor": {"effect": -0.2, "tried": 2, "failed": 0}}
    count = drawn(settings={}, lessons=help)
    assert count["poor"] > count["good"]


def test_failures_lower_the_weight() -> None:
    failed = {"technique:good": {"effect": None, "tried": 4, "failed": 4}}
    assert drawn(settings={}, lessons=failed)["good"] < drawn(settings={})["good"]


def test_its_own_trials_count_once_more() -> None:
    idea = {"key": "technique:x", "prior": 0.0}
    seen = {"technique:x": {"effect": -0.1, "tried": 1, "failed": 0}}
    once, _ = rules.believed(idea, question(lessons=seen))
    twice, _ = rules.believed(idea, question(lessons=seen, own=seen))
    assert twice < once < 0


def test_the_bold_take_two_ideas_that_can_be_together() -> None:
    rivals = [technique("a", -0.1, conflicts=("b",)), technique("b", -0.1), technique("c", -0.1)]
    for attempt in range(50):
        answer = rules.choose(question(temperament="bold", attempt=attempt, techniques=rivals, settings={}))
        assert len(answer["techniques"]) == 2
        assert set(answer["techniques"]) != {"a", "b"}


def test_an_optimizer_mind_prefers_optimizers() -> None:
    both = [technique("muon", -0.05, "optimizer"), technique("norm", -0.05, "attention")]
    count = drawn(temperament="optimizer-minded", techniques=both, settings={})
    assert count["muon"] > 1.3 * count["norm"]


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
    assert answer == {"techniques": [], "settings": {}, "expected": None, "hypothesis": ""}


def test_the_reason_names_what_was_known() -> None:
    seen = {"technique:good": {"effect": -0.2, "tried": 2, "failed": 1}}
    answer = rules.choose(question(techniques=[technique("good", -0.1)], settings={}, lessons=seen))
    assert answer["hypothesis"].startswith("Good: expected to change log perplexity by -0.1")
    assert answer["hypothesis"].endswith("by 1 trial and the prior.")
