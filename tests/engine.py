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
