"""The whole command with real training: equal seeds, kill -9, and what a user finds afterwards.

Without ``--exhaustive`` it is run once; kills are then those of test_resume.py alone, where nothing is trained.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from darwin.sandbox import engine
from darwin.sandbox.errors import EngineError
from tests.command import darwin
from tests.evolve.killed import left_in
from tests.evolve.test_evolve import git, story

OPTIONS = ["-g", "1", "--population", "2", "--budget", "2ktok", "--text", "text.txt", "--approve", "auto",
           "--control", "no-ablation", "--seed", "2"]  # fmt: skip

MOMENTS = ("g000", "g000", "g001", "g0", "g0")
"""Whose next trial has just been announced when the run is killed, one run after the other."""


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "darwin", "evolve", "-C", "killed", *OPTIONS, *options]


def losses(folder: Path) -> dict[str, list[float]]:
    records = [json.loads(p.read_text()) for p in (folder / "memory/individuals").iterdir()]
    return {r["id"]: sorted((t["split"], t["seed"], t["loss"]) for t in r["trials"]) for r in records}


def completed(folder: Path) -> set[tuple[str, int, str]]:
    """What is trained and recorded: individual, seed and budget."""
    records = [json.loads(p.read_text()) for p in (folder / "memory/individuals").glob("[!.]*.json")]
    return {(r["id"], t["seed"], t["budget"]) for r in records for t in r["trials"]}


def trained(folder: Path) -> list[tuple[str, int, str]]:
    """What was begun to be trained, by run.log."""
    whole = [line for line in (folder / "run.log").read_text().splitlines() if line.endswith("}")]
    lines = [json.loads(line) for line in whole]
    return [(at["individual"], at["seed"], at["budget"]) for at in lines if at.get("begin") == "train"]


def containers_of(owners: set[int]) -> list[engine.Found]:
    """What an engine, if one answers, still has of these processes."""
    try:
        with closing(engine.connect()) as client:
            return [one for one in engine.containers(client) if one.owner in owners]
    except EngineError:
        return []


@pytest.fixture
def folder(warm, tmp_path) -> Path:
    """Where an undisturbed run has made the workspace ``whole``."""
    (tmp_path / "text.txt").write_text("It was the best of times, it was the worst of times,\n" * 250)
    whole = darwin("evolve", "-C", "whole", "--sandbox", "process", *OPTIONS, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert "Closing comparison" in whole.stdout, "with this seed no child beats the base: take another"
    return tmp_path


def test_children_are_written_trained_and_compared(folder):
    found = losses(folder / "whole")
    assert len(found) == 3 and all(trials for trials in found.values())
    assert "g001-" in git(folder / "whole", "log", "--all", "--notes=darwin")


@pytest.mark.exhaustive
def test_a_killed_run_ends_as_an_undisturbed_one_to_the_last_bit(folder, monkeypatch):
    """In processes of its own, or in containers where an engine answers; nothing that was known is trained again."""
    temporary, killed = folder / "temporary", folder / "killed"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    owners: set[int] = set()
    for moment in MOMENTS:
        known, before = (completed(killed), len(trained(killed))) if killed.exists() else (set(), 0)
        process = subprocess.Popen(command("--workers", "2"), cwd=folder, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line.startswith(moment) and "perplexity" in line:
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        owners.add(process.pid)
        assert left_in(killed, temporary) == []
        assert not known & set(trained(killed)[before:])
        assert completed(killed) >= known

    known, before = completed(killed), len(trained(killed))
    again = subprocess.run(command("--workers", "1"), cwd=folder, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert known and not known & set(trained(killed)[before:])
    assert left_in(killed, temporary) == [] and containers_of(owners) == []
    assert list(temporary.glob("darwin-box-*")) == []
    checked = darwin("memory", "check", "-C", "killed", cwd=folder)
    assert checked.returncode == 0 and checked.stdout.startswith("Sound:")
    git(killed, "fsck", "--strict")
    assert story(folder / "killed") == story(folder / "whole")
    assert losses(folder / "killed") == losses(folder / "whole")
