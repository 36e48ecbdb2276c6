"""The process tree below the server: who is in it, what it costs, and its end.

On Linux the server is a subreaper, so whatever daemonises comes back to it and nothing leaves the tree.
Elsewhere only the process group is known, and the box's owner sweeps the rest by the marker in their
environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

MARKER = "DARWIN_BOX"
"""Variable by which the host finds the processes of a box: the box's folder (``process`` alone)."""

LINUX = sys.platform.startswith("linux")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = resource.getpagesize()
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36


def become_reaper() -> None:
    """Inherit every orphan of the tree, and let no candidate look into this process (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    hide()


def hide() -> None:
    """Let no candidate look into this process (Linux)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """End this process when its parent does; what it forks is not bound by that (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_DUMPABLE, 1)


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def address_space() -> int:
    """Bytes of virtual memory this process has now (Linux; else 0)."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE if LINUX else 0


@dataclass
class Tree:
    """Watches and ends the tree of one phase, and adds up its bill.

    Create it before the fork. CPU seconds are what the kernel bills for reaped processes plus what the living
    have used, or, where that is more (children that a candidate has the kernel reap unbilled), the sum of
    what each process was last seen with. ``peak_memory`` is that of the largest process, in bytes, with
    what was imported (``import_memory``); ``most_memory`` the most that was ever seen over that, of the tree.
    """

    reaped_cpu: float = 0.0
    peak_memory: int = 0
    processes: int = 0
    memory: int = 0
    most_memory: int = 0
    empty: bool = True
    _polled_cpu: float = 0.0
    _last_seen: dict[tuple[int, int], float] = field(default_factory=dict)
    import_memory: int = field(default_factory=lambda: _resident_bytes())
    _own_memory: int = field(default_factory=lambda: _private_bytes(os.getpid()))

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of the tree so far, the living ones as last looked at."""
        return max(self.reaped_cpu, self._polled_cpu, sum(self._last_seen.values()))

    def look(self) -> None:
        """Update CPU seconds, ``processes`` (a count) and ``memory`` (private bytes over the server's, summed)."""
        pids = _descendants(os.getpid())
        self.processes, self.memory, living = len(pids), 0, 0.0
        for pid in pids:
            stat = _stat(pid)
            if stat is None:
                continue
            own, waited = (stat[11] + stat[12]) / _TICK, (stat[13] + stat[14]) / _TICK
            self._last_seen[pid, stat[19]] = own
            living += own + waited
            self.memory += max(0, _private_bytes(pid) - self._own_memory)
        self._polled_cpu = max(self._polled_cpu, self.reaped_cpu + living)
        self.most_memory = max(self.most_memory, self.memory)

    def reap(self) -> dict[int, int]:
        """Collect whoever has ended: pid -> wait status. Their bill is taken from the kernel.

        ``empty`` says afterwards whether nobody is left: orphans come back here, so then the tree is gone.
        """
        ended: dict[int, int] = {}
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.empty = True
                return ended
            if pid == 0:
                self.empty = False
                return ended
            ended[pid] = status
            self.reaped_cpu += usage.ru_utime + usage.ru_stime
            self.peak_memory = max(self.peak_memory, usage.ru_maxrss * (1024 if LINUX else 1))

    def end(self, session: int | None, patience: float = 30.0) -> dict[int, int]:
        """Kill everything and reap it; raises ``TimeoutError`` if something survives ``patience`` seconds."""
        ended: dict[int, int] = {}
        until, pause = time.monotonic() + patience, 0.001
        while True:
            for pid in _descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if session is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(session, signal.SIGKILL)
            ended |= self.reap()
            if self.empty:
                return ended
            if time.monotonic() > until:
                raise TimeoutError("processes of a phase could not be killed")
            time.sleep(pause)
            pause = min(0.05, 2 * pause)


def _descendants(root: int) -> list[int]:
    """Every process below ``root`` (Linux; elsewhere none, and the process group has to do)."""
    if LINUX and not Path("/proc/thread-self/children").exists():
        return _descendants_by_parent(root)
    found: list[int] = []
    todo = [root]
    while todo:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{todo.pop()}/task").iterdir():
                with contextlib.suppress(OSError):
                    children = [int(pid) for pid in (thread / "children").read_text().split()]
                    found += children
                    todo += children
    return found


def _descendants_by_parent(root: int) -> list[int]:
    """The same for kernels that do not list children: looks at every process of the machine."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (stat := _stat(int(folder.name))):
            children.setdefault(stat[1], []).append(int(folder.name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _stat(pid: int) -> list[int] | None:
    """The numbers of /proc/PID/stat after state and name: index n is field n + 3; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return [0, *(int(word) for word in text[text.rindex(")") + 4 :].split()[:22])]


def _resident_bytes() -> int:
    """Resident bytes of this process: what a fork starts with, most of it torch (Linux; else 0)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE if LINUX else 0


def _private_bytes(pid: int) -> int:
    """Resident bytes that are not of files or shared memory (Linux; else 0)."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(words[1]) - int(words[2])) * _PAGE
