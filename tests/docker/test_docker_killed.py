"""SIGKILL of darwin in each phase: the next start leaves nothing of it, and touches no living run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from darwin.sandbox import Limits, engine
from tests.engine import TASK, docker_sandbox, require_engine

ROOT = Path(__file__).parents[2]
HOST = """
import os, signal, sys
sys.path.insert(0, {root!r})
from tests import tiny
from darwin.sandbox import Dataset, Limits
from darwin.sandbox.population import AgentContainers
from darwin.sandbox.trials import run_trial
from tests.engine import docker_sandbox, require_engine
client, image = require_engine()
sandbox = docker_sandbox()
agents = AgentContainers(client, image, "tests")
agents.launch("Ada")({task!r})
def kill(event):
    if event.get("phase") == {phase!r}:
        os.kill(os.getpid(), signal.SIGKILL)
run_trial(tiny.job(), Dataset.load({data!r}), sandbox, 1e11, Limits(), on_metrics=kill)
"""


def owned_by(client, pid: int) -> list[engine.Found]:
    return [one for one in engine.containers(client) if one.owner == pid]


@pytest.mark.parametrize("phase", ["smoke", "train", "probe", "judge"])
def test_the_next_start_removes_all_of_a_killed_run_and_nothing_of_a_living_one(
    phase, client, data_folder, sandbox
):
    code = HOST.format(root=str(ROOT), task=TASK, phase=phase, data=str(data_folder))
    mine = sandbox.open("living", Limits())
    host = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = next(one.owner for one in engine.containers(client) if one.orphan)
    assert host.returncode == -signal.SIGKILL, host.stderr
    roles = sorted(one.role for one in owned_by(client, pid))
    assert roles[0] == "agent" and "trial" in roles
    for one in owned_by(client, pid):  # their input ended with darwin, so that even now nothing computes
        assert "StatusCode" in client.wait(one.id, timeout=60)

    start = "from tests.engine import docker_sandbox; docker_sandbox().close()"
    subprocess.run([sys.executable, "-c", start], cwd=ROOT, check=True)

    assert owned_by(client, pid) == []
    assert mine.container in {one.id for one in owned_by(client, os.getpid())}
    assert mine.receive(Limits().start_wall_seconds)[0]["event"] == "ready"
    mine.close()


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
