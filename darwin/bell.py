"""The bell: while a run goes on at a terminal, the key g opens the gate there, as another terminal would."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from darwin import answers, gate
from darwin.desk import Desk
from darwin.errors import UsageError
from darwin.keys import CLOSED, Keys
from darwin.requests import reminder
from darwin.rulings import rule
from darwin.screen import Screen
from darwin.workspace import open_workspace

LOOK = 0.2
"""Seconds between two looks at whether the run has ended."""


class Bell:
    """Listens for g in a thread of its own. It only reads the workspace and leaves answers for the run to carry out."""

    def __init__(self, folder: Path, screen: Screen, person: str) -> None:
        self._folder, self._screen, self._person = folder, screen, person
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="bell", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; a person who is at the desk finishes first."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _listen(self) -> None:
        keys = Keys()
        with keys.listening(signals=True):
            while not self._stopped.is_set():
                key = keys.key(LOOK)
                if key == CLOSED:
                    return
                if key in ("g", "G"):
                    self._open()

    def _open(self) -> None:
        """Show the best change that waits, if one does, and leave what the person says to the run."""
        opened = open_workspace(self._folder)
        answered = answers.answered(self._folder)
        queue = [c for c in gate.waiting(opened.memory)[::-1] if c.id not in answered]
        if not queue:
            asked = reminder(opened.memory)
            self._screen.say("Nothing waits for a decision." + (f" {asked}" if asked else ""))
            return
        case = gate.case(opened.memory, opened.lineage, queue[0])
        with self._screen.paused():
            desk = Desk(self._screen.console, Keys(), self._person, partial(rule, folder=self._folder))
            answer = desk.review(case, opened.lineage.files(queue[0].commit))
        if answer is None:
            return
        try:
            answers.post(self._folder, queue[0].id, answer)
        except UsageError as error:
            self._screen.say(str(error), "yellow")
        else:
            self._screen.say(f"{queue[0].id:14} noted; it is carried out at the run's next step.")
