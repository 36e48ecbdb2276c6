"""``process``: a box is a plain process tree in a temporary folder, for code one is willing to run as oneself.

It confines by session, scrubbed environment, resource limits and a folder that is removed. It does not hide
the user's files or the network: that is what a container is for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
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
from darwin.sandbox.inside.tree import MARKER
from darwin.sandbox.limits import Limits
from darwin.sandbox.owner import start_of

_PYTHON = (sys.executable, "-s", "-P", "-B", "-u")
_SERVER = Path(__file__).resolve().parent / "inside" / "server.py"
_FOLDER = re.compile(r"darwin-box-(\d+)-(\d+)-\w+")
_SEND_SECONDS = 60.0  # a server that takes nothing for so long has been stopped
_LONGEST_FOLDER = 1024  # bytes of a box's folder that its processes can be marked with
_END_SECONDS = 5.0  # a server that has lost its host ends in milliseconds; beyond, it is killed
_PASSED_ON = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")  # where libraries and devices are, no more


class ProcessSandbox:
    """Boxes as process trees (``Sandbox``). Folders of a darwin that was killed are swept at the first ``open``."""

    name = "process"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._boxes: list[ProcessBox] = []
        self._nursery: Nursery | None = None

    def open(self, label: str, limits: Limits) -> ProcessBox:
        """Fork a server in a new temporary folder; see ``Sandbox.open``. The first one waits until torch is there."""
        with self._lock:
            if self._nursery is None:
                sweep()
            if self._nursery is None or not self._nursery.lives:
                self._nursery = Nursery()
            box = ProcessBox(label, limits, self._nursery)
            self._boxes = [other for other in self._boxes if not other.closed] + [box]
            return box

    def cpu_seconds(self) -> float:
        """CPU seconds of importing torch and of all servers that have ended; 0 once closed, when they are among those
        of this process's children."""
        nursery = self._nursery
        return 0.0 if nursery is None else nursery.cpu_seconds()

    def close(self) -> None:
        """Close every box still open."""
        with self._lock:
            boxes, self._boxes = self._boxes, []
            nursery, self._nursery = self._nursery, None
        for box in boxes:
            box.close()
        if nursery is not None:
            nursery.close()


class Nursery:
    """The process that servers are forked from (``inside/nursery.py``), as the host sees it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the last reference)
        try:
            self._process = subprocess.Popen(
                [*_PYTHON, str(_SERVER), "--nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=_environment("." * _LONGEST_FOLDER),
                cwd=tempfile.gettempdir(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            self._control.close()
            self._log.close()
            raise SandboxError(f"A trial's server cannot be started: {error}.") from None
        finally:
            theirs.close()

    @property
    def lives(self) -> bool:
        """Whether it can be asked for a server."""
        return self._process.poll() is None

    def fork(self, folder: Path, descriptors: list[int], timeout: float) -> psutil.Process:
        """A server in ``folder`` with these as its standard input, output and error, within ``timeout`` seconds."""
        with self._lock:
            pid = self._ask({"environment": _environment(str(folder))}, descriptors, timeout)
        return psutil.Process(pid)

    def reap(self, server: psutil.Process) -> None:
        """Collect a server that has ended; where this process has ended itself, somebody else does."""
        with self._lock, contextlib.suppress(BoxLost):
            self._ask({"reap": server.pid}, [], _END_SECONDS)

    def _ask(self, request: dict[str, Any], descriptors: list[int], timeout: float) -> int:
        """Raises ``BoxLost``, and ends, where there is no answer in time: the next box gets a new nursery."""
        try:
            self._control.settimeout(timeout)
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
            answer = b""
            while not answer.endswith(b"\n"):
                if not (more := self._control.recv(32)):
                    raise ConnectionError
                answer += more
            return int(answer)
        except OSError:
            raise BoxLost(f"The server that trials are forked from is lost: {self.close()}") from None
        except BaseException:  # an answer may still come, and would be taken for the next one
            self.close()
            raise

    def cpu_seconds(self) -> float:
        """CPU seconds of importing torch and of every server it has seen the end of; 0 once closed."""
        with contextlib.suppress(psutil.Error):
            if self.lives:
                return _used(psutil.Process(self._process.pid))
        return 0.0

    def close(self) -> str:
        """End it, and say its last words; servers go on until their own input ends."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # it is still importing
            self._process.kill()
            self._process.wait()
        if self._log.closed:
            return "it was ended"
        with self._log:
            self._log.seek(0)
            return self._log.read().decode(errors="replace").strip().rpartition("\n")[2] or "it has ended"


class ProcessBox:
    """One server and everything below it (``Box``)."""

    def __init__(self, label: str, limits: Limits, nursery: Nursery) -> None:
        self.label = label
        self.closed = False
        self._talking, self._closing = threading.Lock(), threading.Lock()
        self._cpu_seconds = 0.0
        self._nursery = nursery
        prefix = f"darwin-box-{os.getpid()}-{start_of(os.getpid())}-"
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        except OSError as error:
            raise SandboxError(f"A trial's folder cannot be made: {error}.") from None
        incoming, its_output = os.pipe()
        its_input, outgoing = os.pipe()
        self._ends = incoming, outgoing
        try:
            with (self.folder / "server.log").open("wb") as log:
                descriptors = [its_input, its_output, log.fileno()]
                self._server = nursery.fork(self.folder, descriptors, limits.start_wall_seconds)
        except BaseException:
            for end in self._ends:
                os.close(end)
            remove(self.folder)
            raise
        finally:
            os.close(its_input)
            os.close(its_output)
        self._channel = Channel(incoming, outgoing, max_payload=limits.frame_bytes)

    def send(self, header: dict[str, Any], payload: bytes | memoryview = b"") -> None:
        """Send one frame; raises ``BoxLost``."""
        with self._talk():
            self._channel.send(header, payload, _SEND_SECONDS)

    def receive(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """The next frame within ``timeout`` seconds; raises ``BoxLost``."""
        with self._talk():
            header, payload = self._channel.receive(timeout)
        return header, bytes(payload)

    def cpu_seconds(self) -> float:
        """CPU seconds of the server, all it has reaped and all that still lives; the last figure once closed."""
        if not self.closed:
            self._bill()
        return self._cpu_seconds

    def _bill(self) -> None:
        with contextlib.suppress(psutil.Error):
            total = _used(self._server)
            for child in self._server.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += _used(child)
            self._cpu_seconds = max(self._cpu_seconds, total)

    def close(self) -> None:
        """End the server (it kills what it started once its input ends), sweep whatever is left, remove the folder."""
        with self._closing:
            if self.closed:
                return
            self._bill()
            self.closed = True
            incoming, outgoing = self._ends
            os.dup2(_null(), outgoing)  # ends the server's input, and keeps the number taken
            if not _has_ended(self._server, _END_SECONDS):
                _kill_tree(self._server)
            try:
                _kill_marked(str(self.folder))
            finally:
                self._nursery.reap(self._server)
                with self._talking:
                    os.close(incoming)
                    os.close(outgoing)
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


def _environment(folder: str) -> dict[str, str]:
    """All that a trial sees of the caller's environment."""
    return {
        "PATH": os.defpath,
        "HOME": f"{folder}/home",
        "TMPDIR": f"{folder}/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        MARKER: folder,
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    }


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _kill_tree(server: psutil.Process) -> None:
    """Kill a server that did not end, and what is below it."""
    with contextlib.suppress(psutil.Error):
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                process.kill()
    _has_ended(server, _END_SECONDS)


def _has_ended(server: psutil.Process, seconds: float) -> bool:
    """Whether a server ends within so many seconds; it is not reaped then."""
    until, pause = time.monotonic() + seconds, 0.001
    while time.monotonic() < until:
        try:
            if server.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.Error:
            return True
        time.sleep(pause)
        pause = min(0.05, 2 * pause)
    return False


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
    marker = f"{MARKER}={folder}".encode()
    if not sys.platform.startswith("linux"):
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARKER) == folder:
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
