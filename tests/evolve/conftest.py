"""A finished evolution over the laboratory for the tests that only read it, and runs that end badly."""

from __future__ import annotations

from pathlib import Path

import pytest

from darwin.evolution import Evolution
from darwin.loop import evolve
from tests.evolve import killed, laboratory
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


@pytest.fixture
def failing(monkeypatch):
    """Let the run in the child process fail at its ``count``-th trial."""

    def set_up(error: BaseException, count: int = 7) -> None:
        left = [count]

        def evaluate(jobs, **more):
            for job, trial in laboratory.evaluate(jobs, **more):
                left[0] -= 1
                if left[0] == 0:
                    raise error
                yield job, trial

        begin = killed.begin
        monkeypatch.setattr(
            killed, "begin", lambda *all, **more: begin(*all, **{**more, "evaluate": evaluate})
        )

    return set_up


@pytest.fixture
def cut_short(monkeypatch):
    """Let the run in the child process begin without time and against its will, as where no endpoint answers."""
    genuine = killed.begin

    def begin(*arguments, **more):
        evolution = genuine(*arguments, **more)
        evolution.cut_short, evolution.deadline = True, 0.0
        return evolution

    monkeypatch.setattr(killed, "begin", begin)
