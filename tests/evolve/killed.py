"""Runs an evolution over the laboratory in a child process that dies where it is told to."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import psutil

from darwin import events as events_module
from darwin.begin import ANCESTOR, begin, create
from darwin.cli import exit_code
from darwin.config import Config
from darwin.evolution import Evolution
from darwin.memory import memory as memory_module
from darwin.memory import notes as notes_module
from darwin.memory import store as store_module
from darwin.workspace import is_workspace
from tests.evolve import laboratory

AGENTS = "rules:2"

Point = Callable[[str], None]
"""Called before anything happens that a kill may prevent: ``begin settle``, ``end settle``, ``transaction``, ``file``,
``object``."""


def kill_at(wanted: str) -> Point:
    """Dies at the first point of that name."""
    return lambda name: _die() if name == wanted else None


def kill_after(count: int) -> Point:
    """Dies at the ``count``-th point of any name."""
    left = [count]

    def point(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            _die()

    return point


def kills(seed: int, number: int, most: int = 160) -> list[Point]:
    """Kills at random: after 1 to ``most`` points, drawn from a seed."""
    chance = random.Random(seed)
    return [kill_after(chance.randint(1, most)) for _ in range(number)]


def in_child(function: Callable[[], object]) -> tuple[int, str]:
    """The exit status (negative: a signal) of a function run in a child process, and what it printed."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of forking beside threads, which do nothing here
        pid = os.fork()
    if pid == 0:
        status = 99
        try:
            os.close(read)
            os.dup2(write, 1)
            os.dup2(write, 2)
            sys.stdout, sys.stderr = _Output(1), _Output(2)
            status = exit_code(function)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, errors="replace") as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def run(
    folder: Path, data: Path, generations: int, point: Point | None = None, **options: object
) -> tuple[int, str]:
    """Run ``darwin evolve`` over the laboratory in a child process, up to a point or to its end."""

    def body() -> object:
        if point is not None:
            _instrument(point)
        command = import_module("darwin.cli.evolve")
        command.beginning.begin = _begin
        if not is_workspace(folder):
            create(folder, Config(data=str(data), agents=AGENTS, workers=1), ANCESTOR)
        return command.evolve(
            str(generations), workspace=folder, sandbox="process", **{"approve": "auto", **options}
        )

    return in_child(body)


def _begin(*arguments: object, **more: object) -> Evolution:
    """As ``darwin.begin.begin``, over the laboratory; fails where a known trial is trained again."""
    laboratories = {
        "evaluate": laboratory.evaluate,
        "smoke": laboratory.smoke,
        "calibrate": lambda *_, **__: 1e11,
    }
    evolution = begin(*arguments, **{**more, **laboratories})
    _refuse_twice(evolution)
    return evolution


def _instrument(point: Point) -> None:
    """Let everything that changes the workspace pass the point first."""

    def passing(name: str, function: Callable) -> Callable:
        def passed(*arguments: object) -> object:
            point(name)
            return function(*arguments)

        return passed

    memory_module.move_refs = passing("transaction", memory_module.move_refs)
    store_module.write_atomically = passing("file", store_module.write_atomically)
    notes_module.store_object = passing("object", notes_module.store_object)
    write = events_module.Events._write

    def written(self: events_module.Events, line: dict) -> None:
        for edge in ("begin", "end"):
            if edge in line:
                point(f"{edge} {line[edge]}")
        write(self, line)

    events_module.Events._write = written


def _refuse_twice(evolution: Evolution) -> None:
    """Fail where a training run that git's records hold, judged on any split, is done again."""
    inner = evolution.evaluate

    def evaluate(jobs):
        for job in jobs:
            known = {(t.seed, t.budget) for t in evolution.memory.individuals[job.label].trials}
            assert (job.seed, job.budget) not in known, f"{job.label} is trained twice"
        return inner(jobs)

    evolution.evaluate = evaluate


def left_in(*folders: Path, seconds: float = 60) -> list[psutil.Process]:
    """Processes in these folders that have not ended within so many seconds; one that is to be reaped has ended.

    Git works in the workspace, a trial's server in its box, what servers are forked from in the temporary folder.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            where, over = Path(process.cwd()), process.status() == psutil.STATUS_ZOMBIE
            if not over and any(where.is_relative_to(folder) for folder in folders):
                found.append(process)
    return psutil.wait_procs(found, timeout=seconds)[1]


class _Output(io.TextIOBase):
    """A file descriptor as a text file without a buffer, so that nothing said is lost with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        os.write(self._descriptor, text.encode())
        return len(text)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
