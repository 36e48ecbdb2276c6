"""SIGKILL and Ctrl-C of ``darwin evolve`` in each phase: the next start leaves nothing, and touches no living run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from darwin.sandbox import Limits, engine
from tests.engine import docker_sandbox, require_engine
from tests.exhaustive import few

ROOT = Path(__file__).parents[2]
OPTIONS = ["--sandbox", "docker", "-g", "1", "--population", "2", "--budget", "2ktok", "--text", "text.txt",
           "--approve", "auto"]  # fmt: skip
PHASES = ("start", "smoke", "train", "probe", "judge")
HOST = """
import os, signal, sys
sys.path.insert(0, {root!r})
from darwin import cli, events
write = events.Events._write
def written(self, line):
    write(self, line)
    if line.get("begin") == {phase!r} and line["individual"].startswith({whose!r}):
        os.kill(os.getpid(), signal.{signal})
events.Events._write = written
sys.argv = ["darwin", "evolve", "-C", {workspace!r}, *{options!r}]
cli.main()
"""
"""``darwin evolve``, which gets a signal as soon as somebody's trial is in a phase."""


def evolve(folder: Path, workspace: str, phase: str, whose: str, signal: str) -> subprocess.Popen[str]:
    code = HOST.format(
        root=str(ROOT), phase=phase, whose=whose, signal=signal, workspace=workspace, options=OPTIONS
    )
    environment = {**os.environ, "DARWIN_CACHE": str(folder / "cache"), "HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def of(client, pid: int) -> dict[str, engine.Found]:
    return {one.id: one for one in engine.containers(client) if one.owner == pid}


@pytest.fixture(scope="module")
def folder(client, tmp_path_factory) -> Path:
    """Where runs are made; ``begun`` is a workspace whose base is measured, before the first birth."""
    require_engine()
    folder = tmp_path_factory.mktemp("killed")
    (folder / "text.txt").write_text("It was the best of times, it was the worst of times,\n" * 250)
    (folder / ".gitconfig").write_text("[user]\n\tname = Eve\n\temail = eve@example.org\n")
    said, _ = evolve(folder, "begun", "write", "g001", "SIGINT").communicate()
    assert "Stopped by you" in said, said
    return folder


@pytest.fixture(scope="module")
def living(client, folder):
    """A second run, stopped while its base trains: it lives, and takes no time from the others."""
    run = evolve(folder, "living", "train", "g000", "SIGSTOP")
    try:
        _, status = os.waitpid(run.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), run.communicate()[0]
        yield run.pid
    finally:
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGCONT)
        said, _ = run.communicate()
    assert run.returncode == 130, said
    assert of(client, run.pid) == {}


@pytest.mark.parametrize("phase", few(PHASES, "train"))
def test_the_next_start_removes_all_of_a_killed_run_and_nothing_of_a_living_one(
    phase, client, folder, living
):
    shutil.copytree(folder / "begun", folder / phase)
    others = of(client, living)
    assert "trial" in {one.role for one in others.values()}
    killed = evolve(folder, phase, phase, "g001", "SIGKILL")
    os.waitid(
        os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT
    )  # dead, but not gone: another test's start removes nothing
    left = of(client, killed.pid)
    roles = (
        {"agent"} if phase == "start" else {"agent", "trial"}
    )  # the first trial's container comes after "start"
    assert roles <= {one.role for one in left.values()}
    for container in left:  # their input ended with darwin, so that even now nothing computes
        assert "StatusCode" in client.wait(container, timeout=60)
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said
    assert all(one.orphan for one in of(client, killed.pid).values())

    stopped = evolve(folder, phase, phase, "g001", "SIGINT")
    said, _ = stopped.communicate()
    assert stopped.returncode == 0 and "Stopped by you; 0 of 1 generations are complete" in said, said
    assert of(client, killed.pid) == of(client, stopped.pid) == {}
    assert others.keys() <= of(client, living).keys()
    log = [json.loads(line) for line in (folder / phase / "run.log").read_text().splitlines()]
    for pid in (killed.pid, stopped.pid):
        phases = [line["begin"] for line in log if line["pid"] == pid and line.get("begin") in PHASES]
        assert phases[-1] == phase
    for container in others:
        assert client.inspect_container(container)["State"]["Running"]


def test_an_exception_leaves_nothing_either(client):
    def own() -> set[str]:  # other tests have theirs at the same time
        return {one.id for one in engine.containers(client) if one.owner == os.getpid()}

    before = own()
    with pytest.raises(RuntimeError):
        sandbox = docker_sandbox()
        try:
            sandbox.open("one", Limits())
            raise RuntimeError
        finally:
            sandbox.close()
    assert own() <= before
    assert require_engine()
