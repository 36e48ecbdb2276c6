"""Numeric settings: found by syntax, changed without touching anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darwin.agents import settings
from darwin.agents.errors import AgentError

SCRIPT = '''"""A script."""
# größe
width = 128  # channels, ü
rate = 1e-3
floor = -0.5
many = 1_000
on = True
name = "x"
twice = 1
twice = 2
later = 3


def f() -> None:
    global later
    later = 4
    inner = 5
'''


def test_only_plain_numbers_bound_once_are_settings() -> None:
    assert settings.numeric(SCRIPT) == {"width": 128, "rate": 1e-3, "floor": -0.5, "many": 1000}


def test_a_file_that_does_not_parse_has_none() -> None:
    assert settings.numeric("width = (") == {}


def test_the_comment_beside_it_stays() -> None:
    assert settings.change(SCRIPT, "width", 96) == SCRIPT.replace("width = 128", "width = 96")


def test_a_minus_sign_goes_with_its_number() -> None:
    assert settings.change(SCRIPT, "floor", 0.25) == SCRIPT.replace("-0.5", "0.25")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AgentError) as error:
        settings.change(SCRIPT, "depth", 3)
    expected = 'There is no numeric setting "depth" in this file; there are width, rate, floor, many.'
    assert str(error.value) == expected


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_is_found(value: float) -> None:
    changed = settings.change(SCRIPT, "rate", value)
    assert settings.numeric(changed) == {**settings.numeric(SCRIPT), "rate": value}
    assert changed.splitlines()[:3] == SCRIPT.splitlines()[:3]


def test_the_ancestors_settings_are_found(base: dict[str, str]) -> None:
    found = settings.numeric(base["train.py"])
    assert found["learning_rate"] == 1e-3
    assert list(found)[-1] == "final_fraction"
    assert settings.numeric(base["model.py"]) == {"init_std": 0.02}
