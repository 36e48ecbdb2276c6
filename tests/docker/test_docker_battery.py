"""Escapes, tried for real by rewritten scripts in containers: each costs its own individual alone.

A script that looks for something says what it found in its error, which is what would be recorded. Beside each act
that takes something from all (memory, processes, disk, time), a neighbour trains in a container of its own for as long
as the act goes on, and has to learn what it learns alone, to the bit. After all acts, so has a trial on their own server.
"""

# ruff: noqa: E501

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from darwin.memory.records import TrialStatus
from darwin.sandbox.trials import run_trial
from tests import tiny
from tests.engine import docker_sandbox
from tests.spare import SharedServer

PEAK = 1e11
SECRET = "sk-battery-0123456789"
AT_START, AT_END = "# anchor: settings", "# anchor: end"
JUDGED = "return self.head(self.embed(tokens))"


def told(code: str) -> dict:
    """A script that tries something and then says so, failing: whatever it got is in its own record."""
    return {"train": (AT_START, code + "\nsys.exit(f'TOLD {got!r}')")}


def tried(code: str) -> dict:
    """A script that tries something that has to be refused; if it is not, it says TOLD."""
    return told(f"got = None\ntry:\n    {code}\nexcept OSError as error: got = type(error).__name__")


LOOK = "got = [line for line in open('{}', 'rb').read().split(bytes(1)) if b'KEY' in line or b'sk-' in line]"
SEARCH = """
got, size = [], {size}
for folder, below, names in os.walk('/'):
    if folder in ('/proc', '/sys'): below.clear()
    for name in names:
        path = os.path.join(folder, name)
        try:
            if {match}: got.append(path)
        except OSError: pass
"""

NOTHING = {  # what it does -> (changes, words that its record must have)
    "reads the caller's environment": (told("got = {k: v for k, v in os.environ.items() if 'KEY' in k or 'sk-' in v}"), "TOLD {}"),
    "reads /proc/1/environ": (told(LOOK.format("/proc/1/environ")), "TOLD []"),
    "reads its server's environment": (tried("got = open(f'/proc/{os.getppid()}/environ', 'rb').read()"), "TOLD 'PermissionError'"),
    "reads the fork server's memory": (tried("got = open(f'/proc/{os.getppid()}/mem', 'rb')"), "TOLD 'PermissionError'"),
    "takes the fork server's channel": (tried("got = os.listdir(f'/proc/{os.getppid()}/fd')"), "TOLD 'PermissionError'"),
    "traces the fork server": (
        told("import ctypes; got = ctypes.CDLL(None, use_errno=True).ptrace(16, os.getppid(), 0, 0)"), "TOLD -1",
    ),
    "reads another agent's folder": (told("import glob; got = glob.glob('/task*') + glob.glob('/gateway*') + glob.glob('/home/*')"), "TOLD []"),
    "looks for the Docker socket": (told(SEARCH.format(size=0, match="'docker' in name and name.endswith('.sock')")), "TOLD []"),
    "looks for the validation file by name": (told(SEARCH.format(size=0, match="name in ('val.bin', 'test.bin')")), "TOLD []"),
    "looks for the validation file by its size": (
        told(SEARCH.format(size=2000, match="os.path.getsize(path) == size and name.endswith('.bin')")), "TOLD []",
    ),
    "connects to the internet": (tried("import socket; socket.create_connection(('1.1.1.1', 443), 3); got = 'connected'"), "TOLD 'OSError'"),
    "asks DNS": (tried("import socket; got = socket.getaddrinfo('example.org', 80)"), "TOLD 'gaierror'"),
    "sends without a connection": (
        tried("import socket; got = socket.socket(2, 2).sendto(b'x', ('8.8.8.8', 53))"), "TOLD 'OSError'",
    ),
    "writes outside its folders": (tried("open('/opt/darwin/sandbox/candidate.py', 'a').write('x'); got = 'written'"), "TOLD 'PermissionError'"),
    "writes into its image": (tried("open('/usr/lib/x', 'w'); got = 'written'"), "TOLD 'OSError'"),
    "becomes root": (tried("os.setuid(0); got = 'root'"), "TOLD 'PermissionError'"),
    "mounts": (told("import ctypes; got = ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None)"), "TOLD -1"),
    "makes a name space": (told("import ctypes; got = ctypes.CDLL(None).unshare(0x10000000)"), "TOLD -1"),
    "makes a device": (tried("os.mknod('../tmp/x', 0o060600, os.makedev(8, 0)); got = 'made'"), "TOLD 'PermissionError'"),
    "leaves shared memory of System V": (told("import ctypes; got = ctypes.CDLL(None).shmget(1234, 4096, 0o1600)"), "TOLD -1"),
    "leaves a message queue": (told("import ctypes; got = ctypes.CDLL(None).msgget(1234, 0o1600)"), "TOLD -1"),
    "keeps a kernel key": (told("import ctypes; got = ctypes.CDLL(None).syscall(248, b'user', b'x', b'y', 1, -3)"), "TOLD -1"),
    "asks for its link to a file of the host": (
        {"train": (AT_END, "path = out_dir / 'ckpt.pt'; os.remove(path); os.symlink('/etc/hostname', path)")},
        "ckpt.pt is not a plain file",
    ),
    "links its folder elsewhere": (
        {"train": (AT_END, "import shutil; out = os.path.realpath(out_dir); shutil.rmtree(out); os.symlink('/etc', out)")},
        "ckpt.pt is not a plain file",
    ),
    "puts code into its checkpoint": (
        {"train": (AT_END, "import pickle\nclass Evil:\n    def __reduce__(self): return os.system, ('touch /tmp/evil; id',)\n"
                           "(out_dir / 'ckpt.pt').write_bytes(pickle.dumps(Evil()))")},
        "weights_only",
    ),
}  # fmt: skip
FULL = "No space left on device|It wrote more than the 8388608 bytes or 100 files allowed"
"""The kernel's word, or the server's, whichever comes first."""
BOUNDED = {  # what it does -> (changes, status, words; | between those of which one must be there)
    "starts processes without end": (
        {"train": (AT_START, "while 1:\n    try: os.fork()\n    except OSError: pass")},
        TrialStatus.CRASHED, "It started more than the 64 processes allowed.",
    ),
    "allocates without end": (
        {"train": (AT_START, "hoard = [np.ones(1 << 22) for _ in range(1 << 12)]")}, TrialStatus.OUT_OF_MEMORY, "MemoryError",
    ),
    "fills its disk": (
        {"train": (AT_START, "import time\nfor n in range(400):\n    open(f'../out/{n}', 'wb').write(bytes(1 << 20))\ntime.sleep(99)")},
        TrialStatus.FLOODED, FULL,
    ),
    "fills /tmp": (
        {"train": (AT_START, "import time\nfor n in range(400):\n    open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))\ntime.sleep(99)")},
        TrialStatus.FLOODED, FULL,
    ),
    "fills /dev/shm": (
        {"train": (AT_START, "import time\nfor n in range(400):\n    open(f'/dev/shm/{n}', 'wb').write(bytes(1 << 20))\ntime.sleep(99)")},
        TrialStatus.FLOODED, FULL,
    ),
    "prints without end": ({"train": (AT_START, "while 1: print('x' * 100)")}, TrialStatus.FLOODED, "printed more than"),
    "ignores SIGTERM": (
        {"train": (AT_START, "import signal\nfor n in set(signal.Signals) - {9, 19}: signal.signal(n, signal.SIG_IGN)\nwhile 1: pass")},
        TrialStatus.TIMED_OUT, "CPU seconds",
    ),
    "gives logits of a wrong shape": (
        {"model": (JUDGED, "x = self.head(self.embed(tokens)); return x[:1] if len(tokens) > 1 else x")},
        TrialStatus.BAD_LOGITS, "logits of shape (1, 16, 24), expected (3",
    ),
    "gives logits that are not finite": (
        {"model": (JUDGED, "return self.head(self.embed(tokens)) / (0.0 if len(tokens) > 1 else 1.0)")},
        TrialStatus.BAD_LOGITS, "not finite",
    ),
    "gives logits too slowly": (
        {"model": (JUDGED, "import time; time.sleep(99 if len(tokens) > 1 else 0); return self.head(self.embed(tokens))")},
        TrialStatus.TIMED_OUT, "ran longer than",
    ),
    "gives logits without end": (
        {"model": ("return model.eval()",
                   "import os\n    def endless(tokens):\n        if len(tokens) > 1:\n"
                   "            for fd in range(3, 64):\n                try:\n                    while 1: os.write(fd, bytes(1 << 20))\n"
                   "                except OSError: pass\n        return model(tokens)\n    return endless")},
        TrialStatus.FLOODED, "answered more than",
    ),
    "kills its server": (
        {"train": (AT_START, "import time; os.kill(os.getppid(), 9); time.sleep(99)")}, TrialStatus.CRASHED, "is lost",
    ),
    "kills everything": (
        {"train": (AT_START, "import time; os.kill(-1, 9); time.sleep(99)")}, TrialStatus.CRASHED, "is lost",
    ),
}  # fmt: skip

TAKING = (
    *(
        "starts processes without end",
        "allocates without end",
        "fills its disk",
        "fills /tmp",
        "fills /dev/shm",
    ),
    *("prints without end", "gives logits without end", "kills everything"),
)
"""What takes memory, processes, disk or the host's time, of which others could have less."""


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


@pytest.mark.parametrize("act", NOTHING)
def test_it_finds_nothing_and_changes_nothing(act, dataset, shared, limits, tmp_path):
    changes, words = NOTHING[act]
    trial = run_trial(tiny.job(act, **changes), dataset, shared, PEAK, limits)
    assert trial.loss is None and trial.status is not TrialStatus.OK
    assert words in trial.error and SECRET not in trial.error, trial.error


@pytest.fixture(scope="module")
def patient(limits):
    """The same bounds, and time to wait for a busy machine."""
    return replace(limits, least_wall_seconds=300, start_wall_seconds=300)


@pytest.fixture(scope="module")
def beside(dataset, patient):
    """Trains the untouched tiny genome in a container that no act has."""
    with closing(docker_sandbox()) as sandbox:
        alone = SharedServer(sandbox)
        yield lambda: run_trial(tiny.job(), dataset, alone, PEAK, patient).loss


@pytest.mark.parametrize("act", TAKING)
def test_what_takes_from_all_is_stopped_and_recorded_and_its_neighbour_is_as_without_it(
    act, dataset, shared, beside, patient, neighbour
):
    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(run_trial, tiny.job(act, **BOUNDED[act][0]), dataset, shared, PEAK, patient)
        losses = {beside()}
        while not acting.done():
            losses.add(beside())
    assert losses == {neighbour}
    require_stopped(acting.result(), act)


@pytest.mark.parametrize("act", [act for act in BOUNDED if act not in TAKING])
def test_it_is_stopped_and_recorded(act, dataset, shared, limits, patient):
    within = limits if act == "gives logits too slowly" else patient
    require_stopped(run_trial(tiny.job(act, **BOUNDED[act][0]), dataset, shared, PEAK, within), act)


def require_stopped(trial, act):
    _, status, words = BOUNDED[act]
    assert trial.loss is None and trial.status is not TrialStatus.OK
    assert trial.status is status and any(part in trial.error for part in words.split("|")), trial
    assert trial.cpu_seconds > 0


def test_its_neighbours_are_as_without_it(dataset, shared, limits, neighbour):
    """After all of the above, on the server that survived it; and equal to ``process``, to the bit."""
    assert run_trial(tiny.job(), dataset, shared, PEAK, limits).loss == neighbour


def test_it_does_not_reach_a_server_of_the_host(dataset, shared, limits):
    """One that listens on every address of this machine, the bridge's included."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
import socket
got = []
for address in ('127.0.0.1', '172.17.0.1', '{_own_address()}'):
    try: socket.create_connection((address, {port}), 2); got.append(address)
    except OSError: pass
"""
        trial = run_trial(tiny.job(**told(code)), dataset, shared, PEAK, limits)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert "TOLD []" in trial.error


def test_what_is_left_for_the_next_phase_is_gone(dataset, shared, limits, neighbour):
    """Files wherever it can write, a socket by name, a message queue, and a daemon: the judged model finds none."""
    leave = (
        "for folder in ('/tmp', '/dev/shm', '/box', '/box/tmp', '/box/home', '/box/out', '/box/genome'):\n"
        "    try: open(folder + '/left', 'w').write('x')\n    except OSError: pass\n"
        "import ctypes; ctypes.CDLL('librt.so.1').mq_open(b'/left', 0o102, 0o600, None)\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import socket, time\n"
        "        s = socket.socket(1, 1); s.bind(chr(0) + 'left'); s.listen(); time.sleep(99)\n    os._exit(0)"
    )
    look = (
        "import glob, os, socket\n    found = [p for f in ('/tmp', '/dev/shm', '/dev/mqueue', '/box', '/box/*') for p in glob.glob(f + '/left')]\n"
        "    assert not found, found\n    assert sum(n.isdecimal() for n in os.listdir('/proc')) == 3, 'init, server, this'\n"
        "    try: socket.socket(1, 1).connect(chr(0) + 'left')\n    except OSError: return model.eval()\n    assert 0, 'a daemon'"
    )  # fmt: skip
    changed = tiny.job(train=(AT_END, leave), model=("return model.eval()", look))
    trial = run_trial(changed, dataset, shared, PEAK, limits)
    assert (trial.status, trial.loss) == (TrialStatus.OK, neighbour), trial.error


def test_what_is_left_for_the_next_seed_is_gone(dataset, sandbox, limits, neighbour):
    """The next trial is another container: nothing it writes, and no process, can be there."""
    leave = "open('/tmp/left', 'w').write('x'); open('/dev/shm/left', 'w').write('x')"
    look = "assert not os.path.exists('/tmp/left') and not os.path.exists('/dev/shm/left')"
    first = run_trial(tiny.job(train=(AT_END, leave)), dataset, sandbox, PEAK, limits)
    second = run_trial(tiny.job(train=(AT_START, look)), dataset, sandbox, PEAK, limits)
    assert first.loss == second.loss == neighbour


def test_code_in_a_checkpoint_runs_nowhere_but_in_its_own_container(dataset, sandbox, limits, tmp_path):
    """A loader that does unpickle: it harms itself, and the host never opens the file."""
    note = tmp_path / "evil"
    evil = (
        "import pickle\nclass Evil:\n    def __reduce__(self): return os.system, ('touch {}; touch /tmp/{}',)\n"
        "(out_dir / 'ckpt.pt').write_bytes(pickle.dumps(Evil()))"
    ).format(note, "evil-of-darwin")
    load = ("weights_only=True", "weights_only=False")
    trial = run_trial(tiny.job(train=(AT_END, evil), model=load), dataset, sandbox, PEAK, limits)
    assert trial.status is TrialStatus.BAD_CHECKPOINT
    assert not note.exists() and not Path("/tmp/evil-of-darwin").exists()


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def test_the_battery_is_as_large_as_promised():
    assert len(NOTHING) + len(BOUNDED) >= 20
    assert os.environ["OPENAI_API_KEY"] == SECRET
