"""What every provider of boxes promises; each runs the same suite."""

from __future__ import annotations

import hashlib
import threading

import pytest

from darwin.config import SANDBOXES
from darwin.sandbox import Limits, ProcessSandbox, calibrate
from darwin.sandbox.errors import BoxLost
from darwin.sandbox.session import bounds
from tests.engine import docker_sandbox

PROVIDERS = {"process": ProcessSandbox, "docker": docker_sandbox}
LIMITS = Limits()
BOUNDS = bounds(LIMITS, 20, "cpu", file_bytes=1 << 24, answer_bytes=1 << 20)


@pytest.fixture(scope="module", params=PROVIDERS)
def sandbox(request):
    """Made and used by a caller who has a secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-secret")
        sandbox = PROVIDERS[request.param]()
        sandbox.open("contract", LIMITS).close()
        yield sandbox
        sandbox.close()


@pytest.fixture(scope="module")
def box(sandbox):
    box = sandbox.open("contract", LIMITS)
    header, payload = box.receive(LIMITS.start_wall_seconds)
    assert header["event"] == "ready" and payload == b""
    yield box
    box.close()


def train(box, script: str, data: bytes = b"") -> tuple[dict, str]:
    """Run a script in the box; its report and its log."""
    content = script.encode()
    box.send({"op": "put", "files": {"train.py": len(content)}}, content)
    assert box.receive(60)[0]["event"] == "ended"
    header = {
        "op": "train", "arguments": ["train.py"], "seed": 1, "data": {"train.bin": len(data)},
        "checkpoint_bytes": 1 << 20, "bounds": BOUNDS,
    }  # fmt: skip
    box.send(header, data)
    report, payload = box.receive(300)
    return report, payload[: report["log_bytes"]].decode()


def test_its_name_is_what_the_command_line_writes(sandbox):
    assert sandbox.name in PROVIDERS and sandbox.name in SANDBOXES


def test_a_script_runs_in_it_and_its_end_is_reported(box):
    report, log = train(box, "print('hello'); raise SystemExit(3)")
    assert (report["exit"], report["signal"], report["stopped"], log) == (3, None, None, "hello\n")


def test_a_large_payload_arrives_whole(box):
    data = bytes(range(256)) * (1 << 14)
    script = "import hashlib; print(hashlib.sha256(open('../data/train.bin', 'rb').read()).hexdigest())"
    assert train(box, script, data)[1].strip() == hashlib.sha256(data).hexdigest()


def test_nothing_of_one_phase_is_left_for_the_next(box):
    leave = (
        "import os, tempfile\nfor folder in ('.', '../data', '../out', os.environ['HOME'], tempfile.gettempdir()):\n"
        "    open(folder + '/left', 'w').close()"
    )
    assert train(box, leave)[0]["exit"] == 0
    assert train(box, leave.replace("'w'", "'x'"))[0]["exit"] == 0


def test_a_deep_or_locked_folder_is_removed_too(box):
    deep = "import os\nfor _ in range(1200): os.mkdir('d'); os.chdir('d')\nos.chmod('.', 0)"
    assert train(box, deep)[0]["exit"] == 0
    assert train(box, "import os; print(os.listdir())")[1] == "['train.py']\n"


def test_a_process_left_behind_does_not_outlive_its_phase(box):
    leave = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(1000)\nprint('left')"
    assert train(box, leave)[0]["exit"] == 0
    look = (
        "import os; me, server = os.getpid(), os.getppid()\n"
        "print(open(f'/proc/{server}/task/{server}/children').read().split() == [str(me)])"
    )
    assert train(box, look)[1] == "True\n"


def test_the_host_may_stop_a_script_by_what_it_says_of_its_progress(box):
    endless = (
        "import json, time\nwith open('../out/metrics.jsonl', 'a') as file:\n"
        "    file.write(json.dumps({'step': 1, 'tokens': 7, 'loss': 2.0}) + '\\n')\ntime.sleep(1000)"
    )
    content = endless.encode()
    box.send({"op": "put", "files": {"train.py": len(content)}}, content)
    assert box.receive(60)[0]["event"] == "ended"
    header = {
        "op": "train",
        "arguments": ["train.py"],
        "seed": 1,
        "data": {},
        "checkpoint_bytes": 1,
        "bounds": BOUNDS,
    }
    box.send(header)
    event, _ = box.receive(60)
    assert (event["event"], event["tokens"]) == ("metrics", 7)
    assert 0 <= event["cpu_seconds"] <= event["wall_seconds"] + 1
    box.send({"op": "stop"})
    report, _ = box.receive(60)
    assert (report["event"], report["exit"], report["stopped"]) == ("ended", None, "host")
    assert train(box, "print('next')")[1] == "next\n"


def test_a_stop_that_comes_too_late_stops_nothing(box):
    assert train(box, "print('one')")[1] == "one\n"
    box.send({"op": "stop"})
    assert train(box, "print('two')")[1] == "two\n"


def test_the_callers_environment_stays_outside(sandbox, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    box = sandbox.open("contract", LIMITS)
    box.receive(LIMITS.start_wall_seconds)
    assert (
        "sk-secret"
        not in train(box, "import os; print(dict(os.environ), open('/proc/self/environ').read())")[1]
    )
    box.close()


def test_cpu_seconds_grow_with_what_runs_inside(box):
    before = box.cpu_seconds()
    report, _ = train(box, "import time\nwhile time.process_time() < 0.5: pass")
    assert report["cpu_seconds"] > 0
    assert box.cpu_seconds() >= before + report["cpu_seconds"] - 0.1  # a kernel counts in hundredths


def test_no_answer_in_time_is_told_from_a_lost_server(sandbox):
    box = sandbox.open("contract", LIMITS)
    with pytest.raises(BoxLost) as late:
        box.receive(0)
    assert late.value.late
    box.receive(LIMITS.start_wall_seconds)
    with pytest.raises(BoxLost) as lost:
        train(box, "import os; os.kill(os.getppid(), 9)")
    assert not lost.value.late
    box.close()
    assert box.cpu_seconds() > 0


def test_closing_ends_what_another_thread_waits_for(sandbox):
    box = sandbox.open("contract", LIMITS)
    box.receive(LIMITS.start_wall_seconds)  # ready, and from now on silent
    caught = []

    def wait():
        try:
            box.receive(300)
        except BoxLost as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    box.close()
    waiting.join()
    assert len(caught) == 1
    box.close()
    with pytest.raises(BoxLost, match="was closed"):
        box.send({"op": "put", "files": {}})


@pytest.mark.parametrize("provider", PROVIDERS)
def test_closing_the_provider_closes_its_boxes(provider):
    sandbox = PROVIDERS[provider]()
    boxes = [sandbox.open("contract", LIMITS) for _ in range(2)]
    sandbox.close()
    for box in boxes:
        with pytest.raises(BoxLost):
            box.receive(1)
    sandbox.close()


def test_a_calibration_gives_flops_of_one_thread(sandbox):
    assert 1e8 < calibrate(sandbox) < 1e13
