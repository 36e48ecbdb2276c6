"""Which cases of a long list run every time; the others run with ``--exhaustive`` (tests/conftest.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], *always: Any) -> list[Any]:
    """Parameters of a test: all cases, of which only ``always`` run without ``--exhaustive``."""
    every = list(cases)
    assert set(always) <= set(every), set(always) - set(every)
    return [case if case in always else pytest.param(case, marks=pytest.mark.exhaustive) for case in every]
