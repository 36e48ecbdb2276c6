"""One trial's talk with its box: requests out, reports in, and a candidate's failures told from ours."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darwin.memory.records import TrialStatus
from darwin.sandbox.box import Box
from darwin.sandbox.contract import Contract
from darwin.sandbox.dataset import Tokens
from darwin.sandbox.errors import BoxLost
from darwin.sandbox.limits import KiB, Limits

Event = dict[str, Any]
Progress = Callable[[float, float], bool]
"""Told of the tokens that a script says it has trained on, and of the seconds so far; True stops it."""
_GRACE_SECONDS = 60.0  # over a phase's wall limit, which the server keeps: to kill, to clean, to be scheduled

_STOPPED = {
    "cpu": (TrialStatus.TIMED_OUT, "It used more than the {cpu_seconds:.3g} CPU seconds allowed."),
    "wall": (TrialStatus.TIMED_OUT, "It ran longer than the {wall_seconds:.0f} seconds allowed."),
    "memory": (TrialStatus.OUT_OF_MEMORY, "It took more than the {memory_bytes} bytes of memory allowed."),
    "log": (TrialStatus.FLOODED, "It printed more than the {log_bytes} bytes allowed."),
    "answer": (TrialStatus.FLOODED, "It answered more than the {answer_bytes} bytes allowed."),
    "disk": (
        TrialStatus.FLOODED,
        "It wrote more than the {disk_bytes} bytes or {disk_entries} files allowed.",
    ),
    "processes": (TrialStatus.CRASHED, "It started more than the {processes} processes allowed."),
}
_SIGNALS: dict[int, tuple[TrialStatus, str]] = {
    signal.SIGXCPU: _STOPPED["cpu"],
    signal.SIGXFSZ: (TrialStatus.FLOODED, "It wrote a file of more than the {file_bytes} bytes allowed."),
    signal.SIGKILL: (TrialStatus.OUT_OF_MEMORY, "It was killed by signal 9, most likely for want of memory."),
}
_TELLTALES = {
    TrialStatus.OUT_OF_MEMORY: ("MemoryError", "can't allocate memory", "Cannot allocate memory", "bad_alloc",
                                "out of memory"),
    TrialStatus.FLOODED: ("Errno 27]", "Errno 28]"),
}  # fmt: skip


class Failed(Exception):
    """A candidate failed in a phase; becomes a ``Trial`` and never leaves this room."""

    def __init__(self, status: TrialStatus, phase: str, error: str) -> None:
        super().__init__(error)
        self.status, self.phase, self.error = status, phase, error


@dataclass(frozen=True)
class Report:
    """How a phase ended, as the server says: seconds of CPU (whole tree) and wall, bytes, the log's kept part."""

    exit: int | None
    signal: int | None
    stopped: str | None
    cpu_seconds: float
    wall_seconds: float
    peak_memory: int
    log: str
    answer: Mapping[str, Any]
    payload: memoryview
    checkpoint_problem: str | None

    @classmethod
    def read(cls, header: Mapping[str, Any], payload: bytes) -> Report:
        """Check a frame; raises ``BoxLost`` for one that no server of ours would send."""
        try:
            split = int(header["log_bytes"])
            problem = header.get("checkpoint_problem")
            return cls(
                None if header["exit"] is None else int(header["exit"]),
                None if header["signal"] is None else int(header["signal"]),
                None if header["stopped"] is None else str(header["stopped"]),
                float(header["cpu_seconds"]), float(header["wall_seconds"]), int(header["peak_memory"]),
                payload[:split].decode(errors="replace"), dict(header["answer"]), memoryview(payload)[split:],
                None if problem is None else str(problem),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            raise BoxLost("A trial server broke the protocol.") from None


@dataclass(frozen=True)
class Inspected:
    """A model as it says itself: ``parameters``, ``flops_per_token`` (both None where they cannot be counted),
    and the ``digest`` of its logits on one window that is always the same (None where they are not finite)."""

    parameters: int | None
    flops_per_token: float | None
    digest: str | None


class Session:
    """Runs phases in one box. Each raises ``Failed`` for what the candidate did, ``BoxLost`` for what we did."""

    def __init__(
        self,
        box: Box,
        contract: Contract,
        limits: Limits,
        device: str,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self._box, self._contract, self._limits, self._device = box, contract, limits, device
        self._on_event = on_event or (lambda event: None)
        self._phase = ""

    def begin(self, files: Mapping[str, bytes], core: int | None = None) -> None:
        """Wait for the server and hand it the genome; all it runs keeps to that core, if there is one."""
        begin(self._box, self._limits)
        sizes = {name: len(content) for name, content in files.items()}
        header = {"op": "put", "files": sizes, "core": core}
        self._box.send(header, b"".join(files.values()))
        self._box.receive(self._limits.start_wall_seconds)

    def train(
        self,
        phase: str,
        data: Mapping[str, bytes],
        seed: int,
        tokens: int,
        cpu_seconds: float,
        progress: Progress | None = None,
    ) -> Report:
        """Run the train command; its report, whatever came of it: ``check`` raises for a failure."""
        header = {
            "op": "train",
            "arguments": self._contract.arguments(seed=seed, tokens=tokens, device=self._device),
            "seed": seed,
            "data": {name: len(content) for name, content in data.items()},
            "checkpoint_bytes": self._limits.checkpoint_bytes,
        }
        bounds = self._bounds(cpu_seconds, file_bytes=self._limits.disk_bytes, answer_bytes=0)
        self._phase = ""  # each run is told of, for its curve
        return self._ask(phase, header, bounds, b"".join(data.values()), progress)

    def check(self, phase: str, report: Report, cpu_seconds: float) -> None:
        """Raise ``Failed`` if training did not end well with a checkpoint."""
        bounds = self._bounds(cpu_seconds, file_bytes=self._limits.disk_bytes, answer_bytes=0)
        self._raise_for(phase, report, bounds)
        if report.checkpoint_problem:
            raise Failed(TrialStatus.BAD_CHECKPOINT, phase, self._error(report.checkpoint_problem, report))

    def inspect(self, phase: str, vocab_size: int) -> Inspected:
        """What the model in the checkpoint is like; claims, checked for type only."""
        bounds = self._bounds(self._limits.probe_cpu_seconds, file_bytes=0, answer_bytes=64 * KiB)
        report = self._model("inspect", phase, bounds, vocab_size)
        flops = _number(report.answer.get("flops_per_token"))
        if flops is not None and flops < 1:  # no product at all, or a claim that would buy tokens without end
            flops = None
        return Inspected(_count(report.answer.get("parameters")), flops, _text(report.answer.get("digest")))

    def logits(
        self, phase: str, windows: Tokens, vocab_size: int, cpu_seconds: float
    ) -> tuple[NDArray[np.float32], Report]:
        """Float32 logits (B, T, V) for windows (B, T), from a process that has seen no other batch."""
        shape = (*windows.shape, vocab_size)
        size = 4 * int(np.prod(shape))
        bounds = self._bounds(cpu_seconds, file_bytes=0, answer_bytes=size + 64 * KiB)
        report = self._model("judge", phase, bounds, vocab_size, windows.astype("<u2").tobytes())
        if len(report.payload) != size:
            problem = f"The model answered {len(report.payload)} bytes of logits, expected {size}."
            raise Failed(TrialStatus.BAD_LOGITS, phase, self._error(problem, report))
        return np.frombuffer(report.payload, dtype="<f4").reshape(shape), report

    def _model(
        self, op: str, phase: str, bounds: dict[str, Any], vocab_size: int, payload: bytes = b""
    ) -> Report:
        header = {
            "op": op, "load": self._contract.load, "context": self._contract.context, "vocab_size": vocab_size,
            "device": self._device,
        }  # fmt: skip
        report = self._ask(phase, header, bounds, payload)
        stage = report.answer.get("stage")
        crashed = TrialStatus.BAD_CHECKPOINT if stage == "load" else TrialStatus.CRASHED
        self._raise_for(phase, report, bounds, crashed)
        if stage != "done":
            raise Failed(TrialStatus.CRASHED, phase, self._error("It ended without giving logits.", report))
        if report.answer.get("problem"):
            raise Failed(
                TrialStatus.BAD_LOGITS, phase, self._error(str(report.answer["problem"])[:1000], report)
            )
        return report

    def _ask(
        self,
        phase: str,
        header: dict[str, Any],
        bounds: dict[str, Any],
        payload: bytes,
        progress: Progress | None = None,
    ) -> Report:
        """Send a request and wait for its report; events on the way go to the callback, and to ``progress``."""
        until = time.monotonic() + bounds["wall_seconds"] + _GRACE_SECONDS
        if phase != self._phase:
            self._phase = phase
            self._on_event({"event": "phase", "phase": phase})
        try:
            self._box.send({**header, "bounds": bounds}, payload)
            while True:
                answer, body = self._box.receive(max(0.0, until - time.monotonic()))
                if answer.get("event") == "metrics":
                    if phase == "train":
                        self._on_event(_metrics(answer))
                    if progress is not None and self._stops(progress, answer):
                        self._box.send({"op": "stop"})
                        progress = None
                    continue
                return Report.read(answer, body)
        except BoxLost as lost:  # while its code was running: its doing, and its loss alone
            status = TrialStatus.TIMED_OUT if lost.late else TrialStatus.CRASHED
            if lost.out_of_memory:
                status = TrialStatus.OUT_OF_MEMORY
            raise Failed(status, phase, str(lost)) from lost

    def _stops(self, progress: Progress, event: Event) -> bool:
        done = _number(event.get("tokens"))
        spent = _number(event.get("cpu_seconds" if self._device == "cpu" else "wall_seconds"))
        return done is not None and spent is not None and progress(done, spent)

    def _raise_for(
        self, phase: str, report: Report, bounds: dict[str, Any], crashed: TrialStatus = TrialStatus.CRASHED
    ) -> None:
        if report.stopped is None and report.exit == 0:
            return
        if report.stopped is not None:
            status, text = _STOPPED.get(report.stopped, (crashed, "It was stopped."))
        elif report.signal is not None:
            default = (crashed, f"It ended by signal {report.signal}.")
            status, text = _SIGNALS.get(report.signal, default)
        else:
            status, text = crashed, f"It ended with exit code {report.exit}."
            for likely, words in _TELLTALES.items():
                if any(word in report.log[-2000:] for word in words):
                    status = likely
        raise Failed(status, phase, self._error(text.format(**bounds), report))

    def _error(self, sentence: str, report: Report) -> str:
        words = last_words(report.log, self._limits.error_characters)
        return f"{printable(sentence)}\n{words}".strip()

    def _bounds(self, cpu_seconds: float, *, file_bytes: int, answer_bytes: int) -> dict[str, Any]:
        return bounds(
            self._limits, cpu_seconds, self._device, file_bytes=file_bytes, answer_bytes=answer_bytes
        )


def begin(box: Box, limits: Limits) -> None:
    """Wait until a box's server is ready; raises ``BoxLost``."""
    header, _ = box.receive(limits.start_wall_seconds)
    if header.get("event") != "ready":
        raise BoxLost("A trial server broke the protocol.")


def bounds(
    limits: Limits, cpu_seconds: float, device: str, *, file_bytes: int, answer_bytes: int
) -> dict[str, Any]:
    """A phase's bounds as the server takes them. Device drivers reserve memory without end: no limit there."""
    return {
        "wall_seconds": limits.wall_seconds(cpu_seconds),
        "cpu_seconds": cpu_seconds,
        "memory_bytes": limits.memory_bytes if device == "cpu" else None,
        "file_bytes": file_bytes,
        "disk_bytes": limits.disk_bytes,
        "disk_entries": limits.disk_entries,
        "log_bytes": limits.log_bytes,
        "log_kept_bytes": limits.log_kept_bytes,
        "answer_bytes": answer_bytes,
        "open_files": limits.open_files,
        "processes": limits.processes,
    }


def last_words(log: str, most: int) -> str:
    """The end of a log: its tracebacks in full where they fit into ``most`` characters, else its last lines.

    Control characters are replaced; it is still text that a candidate wrote.
    """
    tail = log[-most:]
    start = tail.find("Traceback (most recent call last):")
    return printable(tail[start:] if start >= 0 else "\n".join(tail.splitlines()[-20:]))


def printable(text: str) -> str:
    """A candidate's text with what no record and no screen can hold replaced: control characters, lone surrogates."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _metrics(event: Mapping[str, Any]) -> Event:
    return {"event": "metrics", **{key: _number(event.get(key)) for key in ("step", "tokens", "loss")}}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None
