"""The whole command with real training: equal seeds, kill -9, and what a user finds afterwards.

Without ``--exhaustive`` it is run once; kills are then those of test_resume.py alone, where nothing is trained.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.command import darwin
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


def servers_of(pid: int) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(pid) in a for a in p.info["cmdline"] or [])
            and any("server.py" in a for a in p.info["cmdline"] or [])]  # fmt: skip


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
def test_a_killed_run_ends_as_an_undisturbed_one_to_the_last_bit(folder):
    """In processes of its own, or in containers where an engine answers."""
    for moment in MOMENTS:
        process = subprocess.Popen(command("--workers", "2"), cwd=folder, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line.startswith(moment) and "perplexity" in line:
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        _, alive = psutil.wait_procs(servers_of(process.pid), timeout=60)
        assert not alive

    again = subprocess.run(command("--workers", "1"), cwd=folder, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert story(folder / "killed") == story(folder / "whole")
    assert losses(folder / "killed") == losses(folder / "whole")
