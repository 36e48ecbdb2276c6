"""``process``: a box is a plain process tree in a temporary folder, for code one is willing to run as oneself.

It confines by session, scrubbed environment, resource limits and a folder that is removed. It does not hide
the user's files or the network: that is what a container is for.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from darwin.sandbox.errors import BoxLost, SandboxError
from darwin.sandbox.inside.frames import Channel, Closed, Late, Malformed
from darwin.sandbox.inside.removal import remove
from darwin.sandbox.limits import Limits
from darwin.sandbox.owner import start_of

_SERVER = Path(__file__).resolve().parent / "inside" / "server.py"
_MARKER = "DARWIN_BOX"
_FOLDER = re.compile(r"darwin-box-(\d+)-(\d+)-\w+")
_SEND_SECONDS = 60.0  # a server that takes nothing for so long has been stopped
_END_SECONDS = 5.0  # a server that has lost its host ends in milliseconds; beyond, it is killed
_PASSED_ON = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")  # where libraries and devices are, no more


class ProcessSandbox:
    """Boxes as process trees (``Sandbox``). Folders of a darwin that was killed are swept at the first ``open``."""

    name = "process"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._boxes: list[ProcessBox] = []
        self._swept = False

    def open(self, label: str, limits: Limits) -> ProcessBox:
        """Start a server in a new temporary folder; see ``Sandbox.open``."""
        with self._lock:
            if not self._swept:
                sweep()
                self._swept = True
            box = ProcessBox(label, limits)
            self._boxes = [other for other in self._boxes if not other.closed] + [box]
            return box

    def close(self) -> None:
        """Close every box still open."""
        with self._lock:
            boxes, self._boxes = self._boxes, []
        for box in boxes:
            box.close()


class ProcessBox:
    """One server and everything below it (``Box``)."""

    def __init__(self, label: str, limits: Limits) -> None:
        self.label = label
        self.closed = False
        self._talking, self._closing = threading.Lock(), threading.Lock()
        self._cpu_seconds = 0.0
        self._answered = False
        prefix = f"darwin-box-{os.getpid()}-{start_of(os.getpid())}-"
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        except OSError as error:
            raise SandboxError(f"A trial's folder cannot be made: {error}.") from None
        try:
            self._process = _start(self.folder)
        except OSError as error:
            remove(self.folder)
            raise SandboxError(f"A trial's server cannot be started: {error}.") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._channel = Channel(
            self._process.stdout.fileno(), self._process.stdin.fileno(), max_payload=limits.frame_bytes
        )

    def send(self, header: dict[str, Any], payload: bytes | memoryview = b"") -> None:
        """Send one frame; raises ``BoxLost``."""
        with self._talk():
            self._channel.send(header, payload, _SEND_SECONDS)

    def receive(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """The next frame within ``timeout`` seconds; raises ``BoxLost``."""
        with self._talk():
            header, payload = self._channel.receive(timeout)
            self._answered = True
        return header, bytes(payload)

    def cpu_seconds(self) -> float:
        """CPU seconds of the server, all it has reaped and all that still lives; the last figure once closed."""
        if self.closed:
            return self._cpu_seconds
        with contextlib.suppress(psutil.Error):
            server = psutil.Process(self._process.pid)
            total = _used(server)
            for child in server.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += _used(child)
            self._cpu_seconds = max(self._cpu_seconds, total)
        return self._cpu_seconds

    def close(self) -> None:
        """End the server (it kills what it started once its input ends), sweep whatever is left, remove the folder."""
        with self._closing:
            if self.closed:
                return
            self.cpu_seconds()
            self.closed = True
            assert self._process.stdin is not None and self._process.stdout is not None
            os.dup2(
                _null(), self._process.stdin.fileno()
            )  # ends the server's input, and keeps the number taken
            if self._answered:  # else it is still importing, and has started nothing
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_SECONDS)
            _kill_tree(self._process)
            try:
                _kill_marked(str(self.folder))
            finally:
                with self._talking:
                    self._process.stdin.close()
                    self._process.stdout.close()
                remove(self.folder)

    @contextlib.contextmanager
    def _talk(self) -> Iterator[None]:
        with self._talking:
            if self.closed:
                raise BoxLost(f"The box of {self.label} was closed.")
            try:
                yield
            except Late:
                raise BoxLost(f"The trial server of {self.label} does not answer.", late=True) from None
            except (Closed, Malformed) as error:
                raise BoxLost(f"The trial server of {self.label} is lost: {self._why() or error}") from None

    def _why(self) -> str:
        """The last words of the server, if it had any."""
        with contextlib.suppress(OSError), (self.folder / "server.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
            return log.read().decode(errors="replace").strip().rpartition("\n")[2]
        return ""


def sweep() -> None:
    """Remove folders and kill processes of darwins that are gone; the living ones' are not touched."""
    for folder in Path(tempfile.gettempdir()).resolve().glob("darwin-box-*"):
        match = _FOLDER.fullmatch(folder.name)
        with contextlib.suppress(FileNotFoundError):  # another darwin may be sweeping too
            if match and start_of(int(match[1])) != match[2] and folder.stat().st_uid == os.getuid():
                _kill_marked(str(folder))
                remove(folder)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own; what it has to say about itself goes to server.log."""
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-s", "-P", "-B", "-u", str(_SERVER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            env=_environment(folder),
            cwd=folder,
            start_new_session=True,
        )


def _environment(folder: Path) -> dict[str, str]:
    """All that a trial sees of the caller's environment."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        _MARKER: str(folder),
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    }


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a server that did not end, and what is below it."""
    if process.poll() is not None:
        return
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for child in below:
        with contextlib.suppress(psutil.Error):
            child.kill()
    process.wait()


def _kill_marked(folder: str) -> None:
    """Kill whoever carries the marker of a box: those that a lost server left to others."""
    for _ in range(50):
        left = list(_marked(folder))
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        time.sleep(0.02)
    raise SandboxError(f"Processes of {folder} cannot be killed.")


def _marked(folder: str) -> Iterator[psutil.Process]:
    marker = f"{_MARKER}={folder}".encode()
    if not sys.platform.startswith("linux"):
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARKER) == folder:
                    yield process
        return
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, psutil.Error):
            if marker in (entry / "environ").read_bytes().split(b"\0"):
                yield psutil.Process(int(entry.name))


def _null() -> int:
    global _null_fd
    if _null_fd is None:
        _null_fd = os.open(os.devnull, os.O_RDWR)
    return _null_fd


_null_fd: int | None = None
