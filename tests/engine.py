"""Docker for tests: they skip with the reason where no engine answers, and fail there under DARWIN_REQUIRE_DOCKER=1."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest

from darwin.confinement import recipe
from darwin.sandbox import engine, image
from darwin.sandbox.docker import DockerSandbox
from darwin.sandbox.errors import EngineError


@cache
def _built() -> tuple[Any, str] | str:
    try:
        client = engine.connect()
        return client, image.build(client, recipe())
    except EngineError as error:
        return str(error)


def require_engine() -> tuple[Any, str]:
    """A client, and the tag of the image, built if it is missing."""
    found = _built()
    if isinstance(found, str):
        if os.environ.get("DARWIN_REQUIRE_DOCKER") == "1":
            pytest.fail(found, pytrace=False)
        pytest.skip(found)
    return found


def docker_sandbox(**settings: Any) -> DockerSandbox:
    """The provider over this machine's engine."""
    _, tag = require_engine()
    return DockerSandbox(tag, "tests", **settings)


def close() -> None:
    """At the session's end."""
    if _built.cache_info().currsize and not isinstance(found := _built(), str):
        found[0].close()


_NUMBERS = {"learning_rate": 0.001, "n_embd": 128, "n_head": 4}
_BELIEF = {
    "short": -0.01,
    "short_sd": 0.02,
    "long": -0.01,
    "long_sd": 0.02,
    "mfu": 0.0,
    "mfu_sd": 0.05,
    "tried": 0,
}
TASK = {
    "kind": "rules", "seed": 3, "child": "g001-ada-1", "attempt": 0, "generation": 1, "temperament": "bold",
    "context": 64, "aim": "perplexity", "techniques": [], "settings": _NUMBERS, "steps": dict.fromkeys(_NUMBERS, 1.0),
    "fixed": [], "beliefs": {f"setting:{n}:{way}": _BELIEF for n in _NUMBERS for way in ("up", "down")}, "own": {},
}  # fmt: skip
"""What a rule-based agent's program is asked, as ``agents/inside/rules.py`` says."""
