"""A real model behind a real server, asked by agents in real containers (tests/smollm2.py says how to give one)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darwin.sandbox import engine
from tests.docker.test_docker_evolve import git_objects, look
from tests.smollm2 import Counting, require_server

SECRET = "sk-of-the-caller-5e884898da280471"


@pytest.fixture(scope="module")
def run(client, tmp_path_factory):
    """One generation by smollm2 in the settings style; what the server counted, what could be seen of containers."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "text.txt").write_text("It was the best of times, it was the worst of times,\n" * 250)
    environment = {
        **os.environ, "OPENAI_API_KEY": SECRET, "DARWIN_CACHE": str(folder / "cache"), "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Eve", "GIT_AUTHOR_EMAIL": "eve@example.org",
        "GIT_COMMITTER_NAME": "Eve", "GIT_COMMITTER_EMAIL": "eve@example.org",
    }  # fmt: skip
    seen: dict[str, str] = {}
    with Counting(require_server()) as server:
        command = [
            sys.executable, "-m", "darwin", "evolve", "--generations", "1", "--agents", "openai", "--model", "smollm2",
            "--style", "settings", "--population", "2", "--budget", "2ktok", "--text", "text.txt", "--approve", "auto",
            "--sandbox", "docker", "-C", "spoken",
        ]  # fmt: skip
        with (folder / "log").open("w") as log:
            run = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, "OPENAI_BASE_URL": server.url},
                stdout=log,
                stderr=log,
            )
            while run.poll() is None:
                look(client, run.pid, seen)
                time.sleep(0.3)
        said = (folder / "log").read_text()
        assert run.returncode == 0, said
        yield folder, server, seen, said


def records(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((folder / "spoken/memory/individuals").iterdir())]


def test_children_are_born_trained_and_recorded(run):
    folder, _, _, said = run
    children = [r for r in records(folder) if r["author"]]
    assert len(children) == 2, said
    trained = [c for c in children if c["status"] == "trained"]
    assert trained, said
    for child in trained:
        assert child["model"] == "smollm2" and child["settings"] and child["trials"][0]["loss"] > 0
        assert child["expected"]["log_perplexity"] is not None and child["hypothesis"]


def test_usage_counted_equals_the_servers(run):
    folder, server, _, _ = run
    done = subprocess.run(
        [sys.executable, "-m", "darwin", "cost", "-C", "spoken", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    total = json.loads(done.stdout)["total"]
    assert server.calls > 0
    assert (total["calls"], total["prompt_tokens"], total["completion_tokens"]) == (
        server.calls, server.prompt_tokens, server.completion_tokens,
    )  # fmt: skip
    assert sum(r["usage"]["calls"] for r in records(folder) if r["usage"]) == server.calls


def test_agents_have_no_network_no_key_and_one_mount(run):
    folder, _, seen, _ = run
    agents = {
        name: text for name, text in seen.items() if name in ("darwin-spoken-ada", "darwin-spoken-alan")
    }
    assert len(agents) == 2
    for text in agents.values():
        whole = json.loads(text)[0]
        assert whole["HostConfig"]["NetworkMode"] == "none"
        assert [mount["Destination"] for mount in whole["Mounts"]] == ["/gateway"]
    assert not any(SECRET in text for text in seen.values())
    others = [json.loads(text)[0]["Mounts"] for name, text in seen.items() if name not in agents]
    assert others and not any(others)
    assert b"g001-ada-1" in (objects := git_objects(folder / "spoken")) and SECRET.encode() not in objects
    for path in (folder / "spoken").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_nothing_is_left_of_it(client, run):
    assert not [one for one in engine.containers(client) if one.workspace == "spoken"]
