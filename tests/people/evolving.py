"""A person at a terminal in which an evolution over the laboratory goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from darwin.cli.evolve import watched
from darwin.loop import evolve
from darwin.sandbox import Job
from darwin.workspace import locked
from tests.evolve import laboratory
from tests.evolve.laboratory import start
from tests.people.terminal import Person

QUESTION = "[e] edit: it is re-trained first  [q] leave all questions undecided"


def until(happened: Callable[[], bool]) -> None:
    """Let a run stand still until something has happened."""
    moment = threading.Event()
    while not happened():
        moment.wait(0.02)


def run(
    folder: Path, data: Path, generations: int = 2, hold: Callable[[Job], None] | None = None, **env: str
) -> Person:
    """A person who has started darwin evolve, over the laboratory; each trial comes back when ``hold`` does."""

    def program() -> None:
        real = laboratory.evaluate

        def slowly(jobs, on_event, **more):
            for job, trial in real(jobs, **more):
                for event in (
                    {"event": "phase", "phase": "train"}, {"event": "metrics", "tokens": 1, "loss": 4.0},
                    {"event": "metrics", "tokens": 2, "loss": 2.5},
                ):  # fmt: skip
                    on_event(job, event)
                if hold is not None:
                    hold(job)
                yield job, trial

        laboratory.evaluate = slowly
        folder.exists() or laboratory.create(
            folder, laboratory.Config(data=str(data), agents="rules:4"), laboratory.ANCESTOR
        )
        with locked(folder):
            evolution = start(folder, data, approve="ask", interactive=True)
            with watched(evolution, generations):
                evolve(evolution, generations)

    return Person(program, **env)
