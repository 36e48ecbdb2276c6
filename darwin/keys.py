"""The keyboard of a terminal, key by key. Ctrl-C is a key like others here: it never ends more than a question."""

from __future__ import annotations

import codecs
import os
import select
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENTER, ESCAPE, BACKSPACE, INTERRUPT = "enter", "escape", "backspace", "interrupt"
CLOSED = "closed"
"""The terminal is gone: what every later key is, too."""

NAMES = {
    "\r": ENTER, "\n": ENTER, "\x1b": ESCAPE, "\x7f": BACKSPACE, "\b": BACKSPACE,
    "\x03": INTERRUPT, "\x04": INTERRUPT, "\x15": "clear",
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[5~": "page up", "\x1b[6~": "page down",
}  # fmt: skip
REST = 0.05
"""Seconds in which the rest of a key's sequence follows its first character."""


class Keys:
    """Reads keys from a terminal."""

    def __init__(self, file: int | None = None) -> None:
        self._file = sys.stdin.fileno() if file is None else file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @contextmanager
    def listening(self, *, signals: bool = False) -> Iterator[None]:
        """Take keys one by one, unechoed, until left; the terminal is then as it was before.

        Without ``signals`` Ctrl-C is a key like others.
        """
        before = termios.tcgetattr(self._file)
        mode = termios.tcgetattr(self._file)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN | (0 if signals else termios.ISIG))
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._file, termios.TCSADRAIN, mode)
        try:
            yield
        finally:
            self._restore(before)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give the terminal to another program, as it was before listening."""
        mine = termios.tcgetattr(self._file)
        usual = termios.tcgetattr(self._file)
        usual[3] |= termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN
        termios.tcsetattr(self._file, termios.TCSADRAIN, usual)
        try:
            yield
        finally:
            self._restore(mine)

    def forget(self) -> None:
        """Drop what was typed before anybody was asked."""
        try:
            termios.tcflush(self._file, termios.TCIFLUSH)
        except termios.error:
            return

    def key(self, seconds: float | None = None) -> str:
        """The next key: a character, or a name such as ``enter``; empty where none came within ``seconds``."""
        while True:
            if seconds is not None and not self._ready(seconds):
                return ""
            char = self._character()
            if char == "\x1b":
                while self._ready(REST) and len(char) < 8 and char[-1:] != "~":
                    char += self._character()
                    if len(char) > 2 and char[-1].isalpha():
                        break
            if char:
                return NAMES.get(
                    char, char if len(char) == 1 and char.isprintable() else CLOSED * (char == CLOSED)
                )

    def line(self, echo: Callable[[str], None]) -> str | None:
        """A line of text, each state of it handed to ``echo``; None where it was taken back."""
        text = ""
        while True:
            echo(text)
            match self.key():
                case "enter":
                    return text.strip()
                case "escape" | "interrupt" | "closed":
                    return None
                case "backspace":
                    text = text[:-1]
                case "clear":
                    text = ""
                case char if len(char) == 1:
                    text += char

    def _restore(self, mode: list[object]) -> None:
        try:
            termios.tcsetattr(self._file, termios.TCSADRAIN, mode)  # type: ignore[arg-type]
        except termios.error:
            return  # the terminal is gone

    def _ready(self, seconds: float) -> bool:
        return bool(select.select([self._file], [], [], seconds)[0])

    def _character(self) -> str:
        """The next whole character; ``CLOSED`` at the end."""
        char = ""
        while not char:
            try:
                data = os.read(self._file, 1)
            except OSError:
                return CLOSED
            if not data:
                return CLOSED
            char = self._decoder.decode(data)
        return char
