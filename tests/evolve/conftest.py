"""One finished evolution over the laboratory, shared by the tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from darwin.evolution import Evolution
from darwin.loop import evolve
from tests.evolve.laboratory import data_set, start


@pytest.fixture
def data(clean_environment: Path, tmp_path: Path) -> Path:
    return data_set(tmp_path)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in a cache that all tests of a file share."""
    folder = tmp_path_factory.mktemp("text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARWIN_CACHE", str(folder / "cache"))
        return data_set(folder)


@pytest.fixture(scope="package")
def evolved(tmp_path_factory: pytest.TempPathFactory) -> Evolution:
    """For reading only."""
    folder = tmp_path_factory.mktemp("evolved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARWIN_CACHE", str(folder / "cache"))
        evolution = start(folder / "w", data_set(folder), agents="rules:4", budget="20s")
        evolve(evolution, 3)
    return evolution
