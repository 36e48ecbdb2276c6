"""Killed anywhere, the same command ends the run as it would have ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from darwin.errors import UsageError
from darwin.loop import evolve
from tests.evolve.laboratory import start
from tests.evolve.test_evolve import git, losses, story

ROOT = Path(__file__).parents[2]
GENERATIONS = 2


def run_until_killed(folder: Path, data: Path, fuse: int) -> int:
    command = [
        sys.executable,
        "-m",
        "tests.evolve.killed",
        str(folder),
        str(data),
        str(GENERATIONS),
        str(fuse),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


@pytest.fixture
def undisturbed(data, tmp_path):
    evolution = start(tmp_path / "undisturbed", data, agents="rules:3")
    evolve(evolution, GENERATIONS)
    return story(tmp_path / "undisturbed"), losses(evolution)


@pytest.mark.parametrize("fuse", [3, 5, 8, 13, 21, 34, 55])
def test_sigkill_before_any_write_changes_nothing_in_the_end(undisturbed, data, tmp_path, fuse):
    folder = tmp_path / "killed"
    assert run_until_killed(folder, data, fuse) == -signal.SIGKILL
    for later in (4, 9):
        run_until_killed(folder, data, later)
    evolution = start(folder, data)
    evolve(evolution, GENERATIONS)

    assert (story(folder), losses(evolution)) == undisturbed
    done = subprocess.run(["git", "fsck", "--strict"], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, "error" in done.stderr) == (0, False)
    assert evolution.memory.project() == 0


def test_refs_moved_in_part_are_set_back_to_the_records(data, tmp_path):
    for generations in (1, GENERATIONS):
        evolve(start(tmp_path / "undisturbed", data, agents="rules:3"), generations)
    folder = tmp_path / "w"
    evolution = start(folder, data, agents="rules:3")
    evolve(evolution, 1)
    repo = evolution.workspace.lineage.repo
    base = evolution.base.commit
    repo.git.update_ref("refs/heads/main", base)
    repo.git.update_ref("refs/heads/agents/ada", base)
    repo.git.update_ref("-d", "refs/darwin/individuals/g001-ada-1")
    (folder / ".git/refs/heads/main.lock").write_text("")

    evolve(start(folder, data), GENERATIONS)
    assert story(folder) == story(tmp_path / "undisturbed")


def test_a_persons_commit_on_main_is_never_moved_away_from(data, tmp_path):
    folder = tmp_path / "w"
    evolve(start(folder, data, agents="rules:3"), 1)
    (folder / "train.py").write_text("# mine\n")
    subprocess.run(["git", "commit", "-qam", "mine"], cwd=folder, check=True)
    mine = git(folder, "rev-parse", "main")
    with pytest.raises(UsageError, match="main holds a commit that darwin did not make"):
        start(folder, data)
    assert git(folder, "rev-parse", "main") == mine
    assert (folder / "train.py").read_text() == "# mine\n"


def test_readable_notes_that_were_lost_are_written_anew(data, tmp_path):
    folder = tmp_path / "w"
    evolve(start(folder, data, agents="rules:3"), 1)
    before = git(folder, "notes", "--ref=darwin", "list")
    git(folder, "update-ref", "-d", "refs/notes/darwin")
    start(folder, data)
    assert git(folder, "notes", "--ref=darwin", "list") == before


def test_settings_edited_away_from_what_was_begun_are_refused(data, tmp_path):
    folder = tmp_path / "w"
    start(folder, data, agents="rules:3", patience=7)
    toml = folder / "darwin.toml"
    assert "patience = 7" not in toml.read_text()
    toml.write_text(toml.read_text().replace("rules:3", "rules:4"))
    with pytest.raises(UsageError, match="begun with 3 others"):
        start(folder, data)
