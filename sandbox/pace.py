"""The pace of this machine: a few steps of the base, run by a trusted server beside the trials.

CPU seconds are not worth the same at all times: a neighbour on the same core, cache or clock makes every
step dearer. What the base's own steps cost meanwhile, against what they cost beside the trials of generation 0, says
by how much. A sample is short and varies by a tenth and more, mostly upwards; so both figures are the lower quartile
of many (of 10 s runs of one script, quiet and loaded, that left bills with a deviation of 4.8 %, the median of the
samples beside each run 7.9 %, and no correction 6.0 %). A short run between two trials also suffers more than a long
one: beside two trials it costs 8 % more than alone, and 5 % more after a rest, when nothing else slows down. So it is
measured against samples of the same kind, and the slowdown by which a bill is divided is the root of the ratio.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from darwin.sandbox.box import Box, Sandbox
from darwin.sandbox.contract import GENOME_TOML, Contract
from darwin.sandbox.dataset import Dataset
from darwin.sandbox.errors import BoxLost, SandboxError
from darwin.sandbox.limits import Limits
from darwin.sandbox.session import Failed, Session

LEAST_SAMPLES = 8
"""Samples that a slowdown takes at the least, and what it is measured against."""

RECENT_SECONDS = 240.0
"""Wall seconds back to which samples count; for a longer run all that were taken beside it do. (Runs of 11 s beside
other work: bills with a deviation of 3.9 % by the samples of 60 s, 2.8 % of 120 s, 2.6 % of 240 s.)"""


class Pace:
    """Samples the base's steps. Thread-safe; starts its server at the first sample.

    ``quiet`` is the CPU seconds of a sample in generation 0; until it is known (None), nothing is slow.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        files: Mapping[str, bytes],
        dataset: Dataset,
        limits: Limits,
        quiet: float | None,
    ) -> None:
        self.quiet = quiet
        self._sandbox, self._files, self._dataset, self._limits = sandbox, files, dataset, limits
        self._contract = Contract.parse(files[GENOME_TOML].decode())
        self._lock, self._changing = threading.Lock(), threading.Lock()
        self._session: Session | None = None
        self._box: Box | None = None
        self._samples: list[tuple[float, float]] = []  # (when, CPU seconds)
        self._watchers = 0
        self._watching: threading.Thread | None = None
        self._closed = threading.Event()

    def sample(self) -> float:
        """CPU seconds of one reference run now; raises ``SandboxError`` if the base no longer trains."""
        with self._lock:
            if self._session is None:
                self._box = self._sandbox.open("pace", self._limits)
                self._session = Session(self._box, self._contract, self._limits, "cpu", None)
                self._session.begin(self._files)
                self._run()  # the first one warms caches up
            seconds = self._run()
            self._samples.append((time.monotonic(), seconds))
            return seconds

    def settle(self, since: float) -> float | None:
        """``quiet``; where it is not known yet, from the samples since ``since`` (of ``time.monotonic``). None where
        no trial was timed yet."""
        if self.quiet is None and self._watching is not None:
            self.quiet = self._recent(since)
        return self.quiet

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Sample now and then for as long as the block runs; blocks of several threads share the samples."""
        with self._changing:
            self._watchers += 1
            if self._watching is None:
                self._watching = threading.Thread(target=self._watch, name="pace", daemon=True)
                self._watching.start()
        try:
            yield
        finally:
            with self._changing:
                self._watchers -= 1

    def slowdown(self, since: float) -> float:
        """How much dearer a trial's steps are since ``since`` (of ``time.monotonic``), or of late if that is not long
        ago, than in generation 0: 1 or more. Samples more if there are too few."""
        if self.quiet is None:
            return 1.0
        now = self._recent(min(since, time.monotonic() - RECENT_SECONDS))
        # Never less than 1: a trial that ran alone did not get faster by it, only the samples beside it did. The root,
        # since of the log of what samples grew dearer by, the repeated bills of four scripts each in three runs (one
        # quiet, two beside other work) shared 0.7, 0.4 and 0.5.
        return math.sqrt(max(1.0, now / self.quiet))

    def close(self) -> None:
        """End the server; harmless the second time."""
        self._closed.set()
        if self._box is not None:
            self._box.close()

    def _recent(self, since: float) -> float:
        """The lower quartile of the samples since then; samples more if there are too few."""
        while len(found := [s for when, s in list(self._samples) if when >= since]) < LEAST_SAMPLES:
            self.sample()
        return lower_quartile(found)

    def _watch(self) -> None:
        with suppress(SandboxError):  # closed, or lost: who asks for the slowdown samples again and is told
            took = 0.0
            while not self._closed.wait(self._pause(took)):
                if self._watchers:
                    began = time.monotonic()
                    self.sample()
                    took = time.monotonic() - began

    def _pause(self, took: float) -> float:
        """Wall seconds until the next sample: short in generation 0, which the rest is measured against."""
        usual = max(self._limits.pace_pause_seconds, self._limits.pace_pause_factor * took)
        return usual if self.quiet is not None else usual / 4

    def _run(self) -> float:
        assert self._session is not None
        data = {"train.bin": self._dataset.rotated(0, "pace"), "meta.json": self._dataset.meta_for_training()}
        try:
            most = self._limits.smoke_cpu_seconds
            report = self._session.train("pace", data, 1, self._limits.pace_tokens, most)
            self._session.check("pace", report, most)
        except Failed as failed:
            raise BoxLost(f"The base's reference steps failed: {failed.error}") from None
        return report.cpu_seconds


def lower_quartile(values: list[float]) -> float:
    """The value that a quarter of them lie below."""
    return sorted(values)[len(values) // 4]
