"""A whole run in containers: the same as under ``process`` to the last bit, and no secret anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darwin.sandbox import engine
from darwin.sandbox.pace import Pace
from tests.tiny import cores_of

SECRET = "sk-of-the-caller-9f86d081884c7d65"
OPTIONS = ["-g", "2", "--population", "2", "--budget", "2ktok", "--text", "text.txt", "--approve", "auto"]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def losses(folder: Path) -> dict:
    records = [json.loads(path.read_text()) for path in (folder / "memory/individuals").iterdir()]
    return {r["id"]: sorted((t["split"], t["seed"], t["loss"]) for t in r["trials"]) for r in records}


def family(folder: Path) -> str:
    return git(
        folder, "for-each-ref", "--format=%(objectname) %(refname)", "refs/darwin/individuals", "refs/heads"
    )


@pytest.fixture(scope="module")
def runs(client, tmp_path_factory):
    """Both runs, and all that could be seen of the containers from outside meanwhile."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text("It was the best of times, it was the worst of times,\n" * 250)
    environment = {
        **os.environ, "OPENAI_API_KEY": SECRET, "HTTPS_PROXY": "", "DARWIN_CACHE": str(folder / "cache"),
        "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Eve", "GIT_AUTHOR_EMAIL": "eve@example.org",
        "GIT_COMMITTER_NAME": "Eve", "GIT_COMMITTER_EMAIL": "eve@example.org",
    }  # fmt: skip
    (folder / ".docker").mkdir()
    proxies = {"proxies": {"default": {"httpProxy": f"http://eve:{SECRET}@proxy.invalid:1"}}}
    (folder / ".docker/config.json").write_text(json.dumps(proxies))
    seen: dict[str, str] = {}
    output = {}
    for sandbox in ("docker", "process"):
        command = [sys.executable, "-m", "darwin", "evolve", "-C", sandbox, "--sandbox", sandbox, *OPTIONS]
        with (folder / f"{sandbox}.log").open("w") as log:
            run = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            while run.poll() is None and sandbox == "docker":
                look(client, run.pid, seen)
                time.sleep(0.3)
            assert run.wait() == 0, (folder / f"{sandbox}.log").read_text()
        output[sandbox] = (folder / f"{sandbox}.log").read_text()
    return folder, seen, output


def look(client, owner: int, seen: dict[str, str]) -> None:
    """Keep everything the engine says of a run's containers, now and at every earlier look: what they are, each list
    of their processes, and what they logged."""
    for one in engine.containers(client):
        if one.owner == owner:
            try:
                now, processes = client.inspect_container(one.id), client.top(one.id, "auxe")
                texts = [processes, logged(client, now)]
            except engine.APIError:
                continue  # it has just ended
            earlier = json.loads(seen.get(one.name, "[null]"))[1:]
            seen[one.name] = json.dumps([now, *(text for text in earlier if text not in texts), *texts])


def logged(client, container: dict) -> str:
    """What the engine kept of a container's output; nothing where it is told to keep none."""
    if container["HostConfig"]["LogConfig"]["Type"] == "none":
        return ""
    return client.logs(container["Id"]).decode(errors="replace")


def git_objects(folder: Path) -> bytes:
    """Every object that a repository has, reachable or not, unpacked; and every history's text."""
    everything = ("cat-file", "--batch-all-objects", "--batch"), ("log", "--all", "-p", "--format=%B%n%N")
    return b"\n".join(
        subprocess.run(["git", *one], cwd=folder, capture_output=True, check=True).stdout
        for one in everything
    )


def test_trees_and_losses_are_those_of_process_to_the_last_bit(runs):
    folder, _, _ = runs
    assert family(folder / "docker") == family(folder / "process")
    assert losses(folder / "docker") == losses(folder / "process")


def test_every_agent_and_every_trial_has_a_container_of_its_own(runs):
    _, seen, output = runs
    names = set(seen)
    assert {"darwin-docker-ada", "darwin-docker-alan"} <= names
    assert any("g000-base" in name for name in names) and any("g001-ada" in name for name in names)
    assert "runs in a Docker container of its own" in output["docker"]


def test_the_containers_are_as_hard_as_promised(runs):
    for text in runs[1].values():
        host = json.loads(text)[0]["HostConfig"]
        assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"]) == ("none", True, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges"] and not host["Privileged"] and host["Init"]
        assert 0 < host["Memory"] == host["MemorySwap"] and host["PidsLimit"] > 0 and host["NanoCpus"] > 0
        assert not host["Binds"] and all("size=" in options for options in host["Tmpfs"].values())
        assert host["LogConfig"]["Type"] == "none", "the engine keeps nothing of what it prints"
        assert json.loads(text)[0]["Config"]["User"] == "10001:10001"
        assert json.loads(text)[0]["Mounts"] == []


def test_no_secret_is_in_a_container_a_process_list_a_record_a_note_or_a_commit(runs):
    folder, seen, output = runs
    assert len(seen) > 4
    assert not [name for name, text in seen.items() if SECRET in text]
    assert max(len(json.loads(text)) for text in seen.values()) > 3, "it was looked at more than once"
    assert SECRET not in output["docker"]
    assert b"g001-ada-1" in (objects := git_objects(folder / "docker")) and SECRET.encode() not in objects
    for path in (folder / "docker").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_nothing_is_left_of_it(client, runs):
    assert not [one for one in engine.containers(client) if one.workspace == "docker"]


def test_all_that_a_trial_in_a_container_starts_keeps_to_its_core(dataset, shared, limits):
    (core,) = cores_of(dataset, shared, limits, Pace(None))
    assert core in os.sched_getaffinity(0)
