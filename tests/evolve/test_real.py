"""The whole command with real training: equal seeds, kill -9, and what a user finds afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.evolve.test_evolve import git, story

OPTIONS = ["-g", "1", "--population", "2", "--budget", "2ktok", "--text", "text.txt", "--approve", "auto",
           "--control", "no-ablation"]  # fmt: skip

MOMENTS = ("g000", "g000", "g001", "g0", "g0") if os.environ.get("DARWIN_ALL_FAULTS") else ("g001",)
"""Whose next trial has just been announced when the run is killed, one run after the other."""


def command(workspace: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "darwin", "evolve", "-C", workspace, *OPTIONS, *options]


def losses(folder: Path) -> dict[str, list[float]]:
    records = [json.loads(p.read_text()) for p in (folder / "memory/individuals").iterdir()]
    return {r["id"]: sorted((t["split"], t["seed"], t["loss"]) for t in r["trials"]) for r in records}


def servers_of(pid: int) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(pid) in a for a in p.info["cmdline"] or [])
            and any("server.py" in a for a in p.info["cmdline"] or [])]  # fmt: skip


def test_a_killed_run_ends_as_an_undisturbed_one_to_the_last_bit(tmp_path):
    (tmp_path / "text.txt").write_text("It was the best of times, it was the worst of times,\n" * 250)
    whole = subprocess.run(command("whole"), cwd=tmp_path, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    assert "champion" in whole.stdout or "best, not proven" in whole.stdout

    for moment in MOMENTS:
        process = subprocess.Popen(
            command("killed", "--workers", "2"), cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for line in process.stdout:
            if line.startswith(moment) and "perplexity" in line:
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        _, alive = psutil.wait_procs(servers_of(process.pid), timeout=60)
        assert not alive

    again = subprocess.run(command("killed", "--workers", "1"), cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert story(tmp_path / "killed") == story(tmp_path / "whole")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert "g001-" in git(tmp_path / "killed", "log", "--all", "--notes=darwin")
