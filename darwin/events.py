"""Events: every step of a run with its duration, in ``run.log``; from the same clock, where the time went.

``run.log`` is JSON Lines: a step's beginning and its end, with ``at`` (UTC), ``seconds`` (of wall time) and what it was
about. It is for people and tools; nothing is read back from it but where a killed run was.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from darwin.memory.records import Trial
from darwin.sandbox import Job

FILE = "run.log"
MOST_BYTES = 4 << 20
"""Of ``run.log``; what is older is kept once more as large, in ``run.log.1``."""

TAIL = 64 << 10
"""Bytes from the end in which a killed run's last step is looked for."""

KINDS = {
    "calibrate": "starting",
    "start": "starting",
    "smoke": "starting",
    "rehearsal": "starting",
    "train": "training",
    "probe": "probing",
    "judge": "judging",
    "write": "thinking",
    "analyse": "thinking",
    "person": "waiting for a person",
}
"""What a step's seconds are counted as; those of the other steps are not: they hold these."""

P = ParamSpec("P")
R = TypeVar("R")
Run = Callable[[Sequence[Job]], Iterator[tuple[Job, Trial]]]


class Events:
    """Writes down what one process does in a workspace. Steps belong to one thread; phases of trials may overlap."""

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """``path`` is that of ``run.log``; without one nothing is written, and time is counted all the same."""
        self._path, self._clock = path, clock
        self._taken: dict[str, float] = {}
        self._inner = [0.0]  # seconds counted within each open step
        self._phases: dict[tuple[str, str, int], tuple[str, float]] = {}
        self._joined = False

    @contextmanager
    def step(self, name: str, **about: str) -> Iterator[None]:
        """A step: its end is written with its duration, however it ends."""
        began = self._clock()
        self._write({"begin": name, **about})
        self._inner.append(0.0)
        try:
            yield
        finally:
            seconds, within = self._clock() - began, self._inner.pop()
            counted = self._count(name, seconds - within) + within
            self._inner[-1] += counted
            self._write({"end": name, **about, "seconds": round(seconds, 3)})

    def phase(self, job: Job, phase: str) -> None:
        """A trial begins a phase; the one before has ended."""
        self._close(job)
        self._phases[_key(job)] = phase, self._clock()
        self._write({"begin": phase, **_about(job)})

    def followed(self, evaluate: Run) -> Run:
        """The same evaluation, with the end of every trial written down."""

        def run(jobs: Sequence[Job]) -> Iterator[tuple[Job, Trial]]:
            trials = evaluate(jobs)
            try:
                for job, trial in trials:
                    self._close(job)
                    self._write({"end": "trial", **_about(job), "split": trial.split, "status": trial.status})
                    yield job, trial
            finally:
                self._phases.clear()
                if hasattr(trials, "close"):
                    trials.close()

        return run

    def taken(self) -> dict[str, float]:
        """Seconds by what was done (values of ``KINDS``) since this was asked last."""
        found, self._taken = self._taken, {}
        return found

    def unfinished(self) -> str | None:
        """The step in which the last run was when it died, in words; None where it ended or there was none."""
        begun: list[dict[str, Any]] = []
        for line in self._last_lines():
            if "begin" in line:
                begun.append(line)
            elif "seconds" in line:
                begun = [b for b in begun if (b["begin"], b.get("individual")) != _ended(line)]
        if not begun:
            return None
        return " of ".join(str(begun[-1][key]) for key in ("begin", "individual") if key in begun[-1])

    def _close(self, job: Job) -> None:
        if (open_phase := self._phases.pop(_key(job), None)) is not None:
            phase, began = open_phase
            seconds = self._clock() - began
            self._count(phase, seconds)
            self._write({"end": phase, **_about(job), "seconds": round(seconds, 3)})

    def _count(self, name: str, seconds: float) -> float:
        if name not in KINDS:
            return 0.0
        self._taken[KINDS[name]] = self._taken.get(KINDS[name], 0.0) + seconds
        return seconds

    def _write(self, line: dict[str, Any]) -> None:
        """Add a line; where the disk is full the log stays behind, since what matters is written elsewhere."""
        if self._path is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"at": at, "pid": os.getpid(), **line}) + "\n"
        with suppress(OSError):
            size = self._path.stat().st_size if self._path.exists() else 0
            if size + len(text) > MOST_BYTES:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            if not self._joined:  # a killed run may have left half a line
                self._joined = True
                text = "\n" * (size > 0 and self._path.read_bytes()[-1:] != b"\n") + text
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)

    def _last_lines(self) -> list[dict[str, Any]]:
        """The last lines that are whole, all of the last process."""
        found: list[dict[str, Any]] = []
        with suppress(OSError):
            if self._path is None:
                return found
            with self._path.open("rb") as file:
                file.seek(max(0, self._path.stat().st_size - TAIL))
                for text in file.read().splitlines():
                    with suppress(ValueError):
                        line = json.loads(text)
                        found += [line] if isinstance(line, dict) else []
        return [line for line in found if line.get("pid") == found[-1].get("pid")]


class Eventful(Protocol):
    """What has steps: an evolution."""

    events: Events


E = TypeVar("E", bound=Eventful)


def step(function: Callable[Concatenate[E, P], R]) -> Callable[Concatenate[E, P], R]:
    """Makes a function on an evolution one of its steps, under the function's own name."""

    @wraps(function)
    def timed(evolution: E, /, *arguments: P.args, **named: P.kwargs) -> R:
        with evolution.events.step(function.__name__):
            return function(evolution, *arguments, **named)

    return timed


def _key(job: Job) -> tuple[str, str, int]:
    return job.label, job.budget, job.seed


def _about(job: Job) -> dict[str, Any]:
    return {"individual": job.label, "budget": job.budget, "seed": job.seed}


def _ended(line: dict[str, Any]) -> tuple[Any, Any]:
    return line.get("end"), line.get("individual")
