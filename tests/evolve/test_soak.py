"""A long run leaves nothing behind and does not grow: no process, no descriptor, no file, no memory."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil
import pytest

from darwin import tidy
from darwin.loop import evolve
from darwin.workspace import open_workspace
from tests.evolve.laboratory import start
from tests.evolve.test_evolve import git
from tests.exhaustive import few

BYTES = 20_000
"""Of a workspace, for each individual, without artifacts."""


@pytest.fixture(params=few([16, 200], 16))
def soaked(request, data, tmp_path, monkeypatch):
    """A finished long run, its generations, and the resident memory of this process after each."""
    monkeypatch.setattr("darwin.lineage.GRACE", "now")
    monkeypatch.setattr(tidy, "LOOSE_AT_THE_END", 0)  # what is left loose at the end is no matter of length
    evolution = start(tmp_path / "w", data, agents="rules:2", approve="auto")
    resident: list[int] = []
    told = evolution.screen.generation

    def generation(number: int, memory: object) -> None:
        resident.append(psutil.Process().memory_info().rss)
        told(number, memory)

    evolution.screen.generation = generation
    process = psutil.Process()
    before = (process.num_fds(), threading.active_count(), {p.pid for p in process.children(recursive=True)})
    files = {p for p in Path("/tmp").iterdir() if p.name.startswith(f"darwin-box-{os.getpid()}-")}
    evolve(evolution, request.param)
    after = (process.num_fds(), threading.active_count(), {p.pid for p in process.children(recursive=True)})
    left = {p for p in Path("/tmp").iterdir() if p.name.startswith(f"darwin-box-{os.getpid()}-")} - files
    return evolution, request.param, resident, before, after, left


def test_a_long_run_leaves_nothing_and_stays_small(soaked):
    evolution, generations, resident, before, after, left = soaked
    folder = evolution.workspace.folder
    assert evolution.run.generation == generations
    assert resident[-1] <= 1.1 * resident[generations // 2]
    assert after[0] <= before[0] + 2  # git's two readers, which stay open while the repository is
    assert after[1] == before[1]
    assert len(after[2] - before[2]) <= 2 and not left
    taken = tidy.sizes(folder)
    people = len(evolution.memory.individuals)
    assert (taken["git"] + taken["memory"]) / people <= BYTES
    assert not [p for p in folder.rglob("*") if p.name.startswith("tmp_")]
    assert git(folder, "fsck", "--strict", "--no-dangling") == ""
    assert len(open_workspace(folder).memory.individuals) == people
