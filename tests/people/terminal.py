"""A person at a real pseudo-terminal: what they see is what an emulated screen holds, what they do is keys.

The program runs in a fork, so that it need not import torch again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import traceback
import warnings
from collections.abc import Callable

import pyte

PATIENCE = 60.0
"""Seconds after which a test is stuck."""

LEFT = b"\x1b[?1049l"
"""The desk's own screen is left: the emulator knows one screen only, and is cleared."""


class Person:
    """Someone at a terminal in which ``program`` runs."""

    def __init__(
        self, program: Callable[[], None], columns: int = 80, rows: int = 24, typed: str = "", **env: str
    ):
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.write(master, typed.encode())  # before anybody asked
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # torch has threads; none of them holds a lock here
            self.pid = os.fork()
        if not self.pid:
            os.close(master)
            _become(program, slave, env)
        os.close(slave)
        self._master = master
        self.all = b""

    def sees(self, *texts: str) -> str:
        """Wait until all texts stand on the screen; the screen."""
        while not all(text in self.text for text in texts):
            assert self._read(PATIENCE), f"the program ended, or stood still, without {texts}:\n{self.text}"
        return self.text

    @property
    def text(self) -> str:
        """The screen, line by line."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def types(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def leaves(self) -> int:
        """Wait for the program's end; its exit code (minus the signal that killed it)."""
        while self._read(PATIENCE):
            pass
        return self._ended()

    def hangs_up(self) -> int:
        """Close the terminal; how the program ended."""
        os.close(self._master)
        self._master = -1
        return self._ended()

    def _ended(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        if self._master >= 0:
            os.close(self._master)
        return os.waitstatus_to_exitcode(status)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            os.kill(self.pid, signal.SIGKILL)
            return False
        data = b""
        with contextlib.suppress(OSError):
            data = os.read(self._master, 65536)
        self.all += data
        self._stream.feed(data.replace(LEFT, LEFT + b"\x1b[2J\x1b[H"))
        return bool(data)


def _become(program: Callable[[], None], slave: int, env: dict[str, str]) -> None:
    """In the child: a session of its own on the terminal, then the program; never returns."""
    code = 70
    try:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(slave, number)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.environ.update({"TERM": "xterm-256color", **env})
        import sys

        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, m) for n, m in ((0, "r"), (1, "w"), (2, "w")))
        program()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
