"""However darwin ends, nothing of a trial goes on running, and the next start removes what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from darwin.sandbox import process
from darwin.sandbox.owner import start_of
from darwin.sandbox.trials import run_trial
from tests.tiny import job

HOST = """
import sys
sys.path.insert(0, {here!r})
from tests.tiny import job
from darwin.sandbox import Dataset, Limits, ProcessSandbox
from darwin.sandbox.trials import run_trial
run_trial(job(train=open({script!r}).read()), Dataset.load({data!r}), ProcessSandbox(), 1e11, Limits())
"""
CANDIDATE = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        break
open({note!r}, 'a').write(f'{{os.getpid()}} {{os.getppid()}}\\n')
time.sleep(1000)
"""


def wait_until(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped by a slow init does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def lines(note: Path) -> list[str]:
    return note.read_text().splitlines() if note.exists() else []


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the test's own, for this process and those it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_sigkill_of_the_host_leaves_no_process(tmp_path, temporary, data_folder):
    note, script = tmp_path / "note", tmp_path / "script.py"
    script.write_text(CANDIDATE.format(note=str(note)))
    code = HOST.format(here=str(Path(__file__).parents[2]), script=str(script), data=str(data_folder))
    host = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: len(lines(note)) == 3)
    host.send_signal(signal.SIGKILL)
    host.wait()
    pids = {int(pid) for line in lines(note) for pid in line.split()}
    wait_until(lambda: not any(alive(pid) for pid in pids))
    wait_until(lambda: not list(temporary.glob("darwin-box-*")))


def test_a_candidate_that_kills_its_server_leaves_no_process_either(
    tmp_path, temporary, dataset, sandbox, limits
):
    note = tmp_path / "note"
    lonely = (
        "import os, time\nserver = os.getppid()\nif os.fork() == 0:\n    os.setsid()\n"
        f"    open({str(note)!r}, 'a').write(str(os.getpid()))\n    os.kill(server, 9)\ntime.sleep(1000)"
    )
    trial = run_trial(job(train=lonely), dataset, sandbox, 1e11, limits)
    assert (trial.status, trial.phase) == ("crashed", "smoke")
    assert trial.cpu_seconds > 0
    wait_until(lambda: not alive(int(note.read_text())))
    assert list(temporary.iterdir()) == []


def test_the_next_start_sweeps_what_a_dead_owner_left_and_nothing_else(temporary):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = temporary / f"darwin-box-{ended.pid}-123-abc_"
    reused = temporary / f"darwin-box-{os.getpid()}-123-abc_"
    mine = temporary / f"darwin-box-{os.getpid()}-{start_of(os.getpid())}-abc_"
    other = temporary / "darwin-box-of-somebody"
    for folder in (dead, reused, mine, other):
        (folder / "genome").mkdir(parents=True)
    left = subprocess.Popen(["/bin/sleep", "1000"], env={"DARWIN_BOX": str(dead)})
    wait_until(
        lambda: psutil.Process(left.pid).environ().get("DARWIN_BOX")
    )  # for a moment it has a name alone
    process.sweep()
    assert left.wait() == -signal.SIGKILL
    assert sorted(temporary.iterdir()) == sorted([mine, other])
