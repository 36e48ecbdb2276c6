"""The pace of this machine: small products and sums, timed on a trial's own core for as long as it runs.

CPU seconds are not worth the same at all times: a neighbour on the same core of the host, unseen from here, makes
every step dearer by up to a third, for seconds or minutes. So a trial keeps to one core, and a thread of ours
computes the same small products and sums there, twenty times a second: their mean cost, against that beside the
base's first trial, to the power of ``EXPONENT``, says how dear the core was. Measured on two shared cores: 20 s of
the base's steps took CPU seconds with a deviation of 2.2 to 3.4 % in a good hour, of 0.7 to 1.2 % divided by the
products alone; equal trials of two default runs (the scripts that were trained on several seeds) had 3.8 and 3.7 %,
and 3.4 and 3.9 % divided so: in a bad hour little is gained. (The base's own steps as the probe did no better, at five
times the price.)
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import fmean

import numpy as np
import psutil

PAUSE = 0.05
"""Wall seconds between two probes: with 0.3 ms each they cost a 160th of the core."""

LOOK = 0.1
"""Wall seconds for which all cores are looked at before one is chosen."""

PRODUCTS, WIDTH = 30, 48
"""Products of a probe, of square matrices that fit a core's first cache."""

SUMS, LENGTH = 5, 1 << 16
"""Sums of a probe, of vectors that fit its second one: the first finds there what the trial has left."""

LONGEST = 0.01
"""CPU seconds that no probe takes: earlier workspaces have the price of other probes, which says nothing of these."""

EXPONENT = 0.5
"""What training suffers of what a probe suffers, in logs: three scripts at three times shared 0.6 to 0.9, the repeated
trials of two default runs 0.2 to 0.4."""


def cores() -> list[int]:
    """The cores that this process may use; none where they cannot be chosen (not on Linux)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Pace:
    """Gives trials a core each, and says how dear it was. Thread-safe.

    ``quiet`` is the mean CPU seconds of a probe beside the base's first trial, whose bill is right by that; until
    it is known (None), nothing is slow. Where cores cannot be chosen (not on Linux), or there are more trials than
    cores, nothing is slow either.
    """

    def __init__(self, quiet: float | None) -> None:
        self.quiet = quiet if quiet is not None and quiet < LONGEST else None
        self._free = set(cores())
        self._last: list[float] = []  # probes of the last run, until ``quiet`` is known
        self._lock = threading.Lock()

    @contextmanager
    def core(self) -> Iterator[int | None]:
        """The calmest core that is free, for as long as the block runs; None where none is."""
        with self._lock:
            core = _calmest(self._free) if self._free else None
            self._free -= {core}
        try:
            yield core
        finally:
            if core is not None:
                with self._lock:
                    self._free.add(core)

    @contextmanager
    def beside(self, core: int | None) -> Iterator[list[float]]:
        """Probe that core for as long as the block runs: CPU seconds of each probe."""
        found: list[float] = []
        if core is None:
            yield found
            return
        ended = threading.Event()
        thread = threading.Thread(target=_watch, args=(core, found, ended), name="pace", daemon=True)
        thread.start()
        try:
            yield found
        finally:
            ended.set()
            thread.join()

    def slowdown(self, probes: Sequence[float]) -> float:
        """By how much a run's steps were dearer than the base's at first while these probes were taken."""
        if self.quiet is None:
            self._last = list(probes)
        if self.quiet is None or not probes:
            return 1.0
        return math.pow(fmean(probes) / self.quiet, EXPONENT)

    def settle(self) -> float | None:
        """``quiet``; where it is not known yet, as it was beside the last run. None where none was timed yet."""
        if self.quiet is None and self._last:
            self.quiet = fmean(self._last)
        return self.quiet


def _calmest(cores: Iterable[int]) -> int:
    """The core with the least to do: another darwin on this machine keeps to cores of its own."""
    busy = dict(enumerate(psutil.cpu_percent(LOOK, percpu=True)))
    return min(cores, key=lambda core: (busy.get(core, 0.0), core))


def _watch(core: int, found: list[float], ended: threading.Event) -> None:
    """Probe a core until the event is set. It is this thread alone that moves there."""
    left = np.linspace(-1, 1, WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH)
    right, product = left.copy(), left.copy()
    some = np.linspace(-1, 1, LENGTH, dtype=np.float32)
    more, total = some.copy(), some.copy()

    def multiply(times: int) -> None:
        for _ in range(times):
            np.dot(left, right, out=product)

    with suppress(OSError):  # taken from us meanwhile: whoever asks then has no probes
        os.sched_setaffinity(0, {core})
        while not ended.wait(PAUSE):
            multiply(PRODUCTS // 6)  # warms up, as the first cache is the trial's until then
            before = time.thread_time()
            multiply(PRODUCTS)
            for _ in range(SUMS):
                np.add(some, more, out=total)
            found.append(time.thread_time() - before)
