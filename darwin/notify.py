"""Notification: a person's own command, run when something wants them: a decision, the end, a failure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

WAITING, END, FAILURE = "waiting", "end", "failure"


class Notifier:
    """Runs ``command`` in a shell, with ``DARWIN_EVENT``, ``DARWIN_TEXT`` and ``DARWIN_WORKSPACE`` in its environment.

    What it is told is never part of the command itself: texts of agents cannot run. It is not waited for, and its
    failure is said once and stops nothing.
    """

    def __init__(self, command: str | None, workspace: Path, say: Callable[[str], None]) -> None:
        self._command, self._workspace, self._say = command, workspace, say
        self._running: list[subprocess.Popen[bytes]] = []

    def __call__(self, event: str, text: str) -> None:
        if not self._command:
            return
        told = {
            "DARWIN_EVENT": event,
            "DARWIN_TEXT": text,
            "DARWIN_WORKSPACE": str(self._workspace.absolute()),
        }
        process = subprocess.Popen(
            self._command,
            shell=True,
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running.append(process)

    def finish(self, seconds: float = 5.0) -> None:
        """Give what still runs a moment, and say which ended badly."""
        for process in self._running:
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            if code:
                self._say(f"The command of --notify ended with {code}: {self._command}")
                return
