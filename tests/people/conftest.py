"""A finished evolution whose changes all wait for a decision, made once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from darwin.loop import evolve
from darwin.workspace import Workspace, open_workspace
from tests.evolve.laboratory import data_set, start


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARWIN_CACHE", str(folder / "cache"))
        evolve(start(folder / "w", data_set(folder), agents="rules:4", approve="defer"), 3)
    return folder / "w"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "w"))


@pytest.fixture
def opened(folder: Path) -> Workspace:
    return open_workspace(folder)
