"""One phase: a forked child runs a candidate's code under bounds, and everything it started ends with it."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from . import tree  # noqa: TID251 (a neighbour by path: nothing of ours is installed in there)

_LOOK_SECONDS = 0.1  # between two looks at the tree: what a hidden burner can gain, and about 0.2 % of a core
_WALK_SECONDS = 0.5  # between two counts of the folders
_PIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class Bounds:
    """Bounds on one phase, as the host sent them; units are in the names (``memory`` None: no limit)."""

    wall_seconds: float
    cpu_seconds: float
    memory_bytes: int | None
    file_bytes: int
    disk_bytes: int
    disk_entries: int
    log_bytes: int
    log_kept_bytes: int
    answer_bytes: int
    open_files: int
    processes: int


@dataclass
class Report:
    """How a phase ended; ``stopped`` is None, ``host`` (which wanted no more of it), or the bound it ran into: cpu,
    wall, memory, disk, log, answer, processes."""

    exit: int | None = None
    signal: int | None = None
    stopped: str | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory: int = 0
    log: bytes = field(default=b"", repr=False)
    answer: bytearray = field(default_factory=bytearray, repr=False)

    def header(self) -> dict[str, Any]:
        """All but the two buffers, for a frame's header."""
        return {name: value for name, value in asdict(self).items() if name not in ("log", "answer")}


class HostGone(Exception):
    """The host closed the channel: end everything."""


def _gone() -> None:
    raise HostGone


@dataclass(frozen=True)
class Work:
    """What the child does: ``call(request, answer)`` with the descriptors of two pipes, in ``folder``.

    ``feed`` is called in the server after the fork and gives the bytes for ``request``: a child forked for
    one batch, and whatever is forked later, finds no earlier batch in the memory it inherits. ``on_look`` is told
    every ``_LOOK_SECONDS`` what the tree has used so far, in CPU and in wall seconds; ``on_host`` is called when the
    host says something meanwhile, which ends the phase.
    """

    call: Callable[[int, int], None]
    folder: Path
    feed: Callable[[], bytearray] = bytearray
    on_look: Callable[[float, float], None] = lambda cpu_seconds, wall_seconds: None
    on_host: Callable[[], None] = _gone


def run(work: Work, bounds: Bounds, hangup: int, watched: list[Path]) -> Report:
    """Fork, run, watch, end everything, and report. ``hangup``: the host's descriptor; ``watched``: all folders."""
    started = time.monotonic()
    watch = tree.Tree()
    log_r, log_w = _pipe()
    request_r, request_w = _pipe()
    answer_r, answer_w = _pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(work, bounds, log_w, request_r, answer_w)
    for fd in (log_w, request_r, answer_w):
        os.close(fd)
    report = Report()
    log = _Log(bounds.log_kept_bytes)
    pipes = _Pipes(log_r, answer_r, request_w, log, report.answer)
    try:
        pipes.feed = work.feed()
        report.stopped = _watch(pid, watch, pipes, bounds, hangup, started, watched, work, report)
    finally:
        watch.look()
        ended = watch.end(pid)
        _set_status(report, ended.get(pid))
        pipes.drain(bounds)
        pipes.close()
    if report.stopped is None and log.total > bounds.log_bytes:
        report.stopped = "log"
    report.log = log.text()
    report.cpu_seconds = watch.cpu_seconds
    report.peak_memory = max(watch.most_memory, watch.peak_memory - watch.import_memory)
    report.wall_seconds = time.monotonic() - started
    return report


def _watch(
    pid: int,
    watch: tree.Tree,
    pipes: _Pipes,
    bounds: Bounds,
    hangup: int,
    started: float,
    watched: list[Path],
    work: Work,
    report: Report,
) -> str | None:
    """Wait for the child's end; returns None, or the bound that was reached first."""
    next_look = next_walk = started
    with pipes.poll(pid, hangup) as poll:
        while True:
            now = time.monotonic()
            events = dict(poll(max(0.0, min(next_look, started + bounds.wall_seconds) - now)))
            if hangup in events:
                work.on_host()
                return "host"
            pipes.move(events)
            ended = watch.reap()
            if pid in ended:
                _set_status(report, ended[pid])
                return None
            now = time.monotonic()
            if pipes.log.total > bounds.log_bytes:
                return "log"
            if len(pipes.answer) > bounds.answer_bytes:
                return "answer"
            if now >= started + bounds.wall_seconds:
                return "wall"
            if now >= next_look:
                next_look = now + _LOOK_SECONDS
                watch.look()
                if watch.cpu_seconds > bounds.cpu_seconds:
                    return "cpu"
                if watch.processes > bounds.processes:
                    return "processes"
                if bounds.memory_bytes is not None and watch.memory > bounds.memory_bytes:
                    return "memory"
                work.on_look(watch.cpu_seconds, now - started)
            if now >= next_walk:
                next_walk = now + _WALK_SECONDS
                if _over(watched, bounds):
                    return "disk"


def _set_status(report: Report, status: int | None) -> None:
    if status is None:
        return
    if os.WIFSIGNALED(status):
        report.signal = os.WTERMSIG(status)
    else:
        report.exit = os.WEXITSTATUS(status)


def _over(folders: list[Path], bounds: Bounds) -> bool:
    """Whether the folders hold more bytes (in blocks) or entries than allowed; links are not followed."""
    total = entries = 0
    todo = [str(folder) for folder in folders if not folder.is_symlink()]
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as found:
            for entry in found:
                entries += 1
                if entries > bounds.disk_entries:
                    return True
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return total > bounds.disk_bytes


class _Log:
    """What was printed: its head and its tail, bounded."""

    def __init__(self, kept: int) -> None:
        self.total = 0
        self._head, self._tail = bytearray(), bytearray()
        self._head_room, self._tail_room = kept // 4, kept - kept // 4

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self._head_room - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        if len(self._tail) > 2 * self._tail_room:
            del self._tail[: -self._tail_room]

    def text(self) -> bytes:
        tail = self._tail[-self._tail_room :]
        left_out = self.total - len(self._head) - len(tail)
        gap = b"\n[... %d bytes left out ...]\n" % left_out if left_out else b""
        return bytes(self._head) + gap + bytes(tail)


@dataclass
class _Pipes:
    """The server's ends of the three pipes of a phase."""

    log_fd: int
    answer_fd: int
    request_fd: int
    log: _Log
    answer: bytearray
    feed: bytearray = field(default_factory=bytearray)
    _fed: int = 0

    def __post_init__(self) -> None:
        for fd in (self.log_fd, self.answer_fd, self.request_fd):
            os.set_blocking(fd, False)
        self._open = {self.log_fd, self.answer_fd, self.request_fd}
        self._poll = select.poll()
        self._poll.register(self.log_fd, select.POLLIN)
        self._poll.register(self.answer_fd, select.POLLIN)
        self._poll.register(self.request_fd, select.POLLOUT)

    @contextlib.contextmanager
    def poll(self, pid: int, hangup: int) -> Iterator[Callable[[float], list[tuple[int, int]]]]:
        """A function: seconds -> (descriptor, event) pairs of the pipes, the host and the child's end."""
        self._poll.register(hangup, select.POLLIN)
        child = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        if child is not None:
            self._poll.register(child, select.POLLIN)
        longest = 60.0 if child is not None else 0.05
        try:
            yield lambda seconds: self._poll.poll(min(longest, seconds) * 1000)
        finally:
            if child is not None:
                os.close(child)

    def move(self, events: dict[int, int]) -> None:
        """Take what has come, give what is taken; one read each, so that no bound is overrun by much."""
        if self.log_fd in events and self.log_fd in self._open:
            self._take(self.log_fd)
        if self.answer_fd in events and self.answer_fd in self._open:
            self._take(self.answer_fd)
        if self.request_fd in events and self.request_fd in self._open:
            self._give()

    def drain(self, bounds: Bounds) -> None:
        """Take what is left in the pipes after the end, up to the bounds, and wipe what was fed."""
        while self.log_fd in self._open and self.log.total <= bounds.log_bytes and self._take(self.log_fd):
            pass
        while self.answer_fd in self._open and len(self.answer) <= bounds.answer_bytes:
            if not self._take(self.answer_fd):
                break
        self.feed[:] = bytes(len(self.feed))

    def close(self) -> None:
        for fd in list(self._open):
            self._shut(fd)

    def _take(self, fd: int) -> bool:
        try:
            data = os.read(fd, _PIPE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._shut(fd)
        elif fd == self.log_fd:
            self.log.add(data)
        else:
            self.answer += data
        return bool(data)

    def _give(self) -> None:
        try:
            with memoryview(self.feed) as view:
                self._fed += os.write(self.request_fd, view[self._fed :]) if self._fed < len(view) else 0
        except BlockingIOError:
            return
        except OSError:
            self._fed = len(self.feed)
        if self._fed == len(self.feed):
            self._shut(self.request_fd)

    def _shut(self, fd: int) -> None:
        self._open.discard(fd)
        self._poll.unregister(fd)
        os.close(fd)


def _pipe() -> tuple[int, int]:
    read, write = os.pipe()
    with contextlib.suppress(AttributeError, ImportError, OSError):
        import fcntl

        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write


def _child(work: Work, bounds: Bounds, log: int, request: int, answer: int) -> NoReturn:
    """In the child: confine, run, and leave without returning to the server's code."""
    code = 1
    try:
        os.setsid()
        tree.die_with_parent()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        first = 3
        for fd in [*sorted((request, answer)), os.sysconf("SC_OPEN_MAX")]:  # the host's channel is closed too
            os.closerange(first, fd)
            first = fd + 1
        sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        tempfile.tempdir = None  # found again from TMPDIR, which was not there when torch first asked
        _confine(bounds)
        os.chdir(work.folder)
        work.call(request, answer)
        code = 0
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            code = (leaving.code or 0) & 0xFF
        else:
            print(leaving.code, file=sys.stderr)
    except BaseException as error:
        _print_traceback(error, work.folder)
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _print_traceback(error: BaseException, folder: Path) -> None:
    """The candidate's own frames only: ours, above them, would tell it nothing."""
    inner = error.__traceback__
    while inner is not None and not _is_below(inner.tb_frame.f_code.co_filename, folder):
        inner = inner.tb_next
    traceback.print_exception(type(error), error, inner)


def _is_below(filename: str, folder: Path) -> bool:
    return filename.startswith(f"{folder}{os.sep}")


def _confine(bounds: Bounds) -> None:
    """Resource limits of this process and what it forks."""
    cpu = int(bounds.cpu_seconds) + 1
    for name, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 5),
        (resource.RLIMIT_FSIZE, bounds.file_bytes, bounds.file_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files, bounds.open_files),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        most = resource.getrlimit(name)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(name, (soft, hard))
    if bounds.memory_bytes is not None and tree.LINUX:
        most = tree.address_space() + bounds.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
