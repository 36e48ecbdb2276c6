"""A trial, start to end: smoke, train, probe, judge. Start reading here.

Only our machinery raises (``SandboxError``). What a candidate does, it does to its own ``Trial``: a status,
the phase, its last words, and the bill.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from darwin.memory.records import Trial, TrialStatus
from darwin.sandbox.box import Box, Sandbox
from darwin.sandbox.budget import Budget, Unit
from darwin.sandbox.carried import carries
from darwin.sandbox.contract import GENOME_TOML, Contract, check_name
from darwin.sandbox.dataset import Dataset
from darwin.sandbox.errors import BoxLost, ContractError, SandboxError
from darwin.sandbox.judging import Judge
from darwin.sandbox.limits import KiB, Limits
from darwin.sandbox.pace import Pace, cores
from darwin.sandbox.peaks import tabled
from darwin.sandbox.session import Event, Failed, Session, begin, bounds
from darwin.sandbox.training import Training

CALIBRATED = 4
"""Cores at the most that the peak is measured on: half a second each."""


@dataclass(frozen=True)
class Job:
    """One training run to do: a genome's files (genome.toml included), a seed, and its budget.

    ``label`` is for people; ``budget`` as the user wrote it; ``tokens`` what it buys this genome (None: to be
    found out, with the help of ``parent_tokens``, what it buys the parent, and of ``bill_deviation``, by how much bills
    of equal work differ here, in logs); ``split`` is val or test, ``further`` splits are judged after the same
    training. ``times`` is how many times the run's usual budget this is, ``probes`` how many batches of altered windows
    the leak probe asks for in each split. With a ``salt``, the seed that the script gets and its data's rotation are
    both drawn from seed and salt.
    """

    label: str
    files: Mapping[str, bytes] = field(repr=False)
    seed: int
    tokens: int | None
    budget: str
    split: str = "val"
    salt: str = ""
    further: tuple[str, ...] = ()
    times: int = 1
    probes: int = 1
    parent_tokens: int | None = None
    bill_deviation: float = 0.0

    @property
    def training_seed(self) -> int:
        """The seed given to the script: ``seed``, or with a salt 31 bits of sha256 of both."""
        if not self.salt:
            return self.seed
        return (
            int.from_bytes(hashlib.sha256(f"seed {self.seed} {self.salt}".encode()).digest()[:4], "big") >> 1
        )


def run_job(
    job: Job,
    dataset: Dataset,
    sandbox: Sandbox,
    peak_flops: float,
    limits: Limits,
    device: str = "cpu",
    on_metrics: Callable[[Event], None] | None = None,
    pace: Pace | None = None,
) -> list[Trial]:
    """Train and judge one job in a box of its own; a trial for its split, and one for each further split.

    Losses in nats per token over the whole split, seconds of CPU of the training phase's process tree (of
    wall time on a device other than ``cpu``), MFU against ``peak_flops``. Equal files, seed, salt and tokens
    give the same loss to the last bit on one CPU thread. ``pace`` is the machine's clock, for budgets of time on a
    CPU. ``on_metrics`` gets ``{"event": "phase", "phase"}``, ``{"event": "metrics", "step", "tokens", "loss"}``
    (the script's own claims) and ``{"event": "note", "text"}``. Raises ``SandboxError`` for what is not the
    candidate's doing.
    """
    contract = _contract(job)
    dataset.require(contract.context)
    timed = Budget.parse(job.budget).unit is Unit.SECONDS and device == "cpu"
    splits = {split: dict[str, Any]() for split in (job.split, *job.further)}
    if on_metrics is not None:
        on_metrics({"event": "phase", "phase": "start"})
    with (
        pace.core() if pace and timed else nullcontext() as core,
        closing(sandbox.open(job.label, limits)) as box,
    ):
        session = Session(box, contract, limits, device, on_metrics)
        session.begin(job.files, core)
        training = Training(
            session,
            limits,
            device,
            pace if timed else None,
            job.training_seed,
            dataset.training_files(job.seed, job.salt),
            job.times,
            core,
        )
        measured = training.measured
        try:
            if problem := carries(job.files, dataset, limits.genome_bytes):
                raise Failed(TrialStatus.DISQUALIFIED, "smoke", problem)
            _train(training, job, dataset)
            measured |= _mfu(measured, peak_flops)
            judge = Judge(
                session,
                dataset,
                contract.context,
                dataset.key(job.seed),
                limits,
                device,
                on_metrics,
                job.probes,
            )
            for split, found in splits.items():
                found |= judge.score(split)
        except Failed as failed:
            splits = {split: {} for split in splits}
            measured |= {"status": failed.status, "phase": failed.phase, "error": failed.error}
        measured["cpu_seconds"] = box.cpu_seconds()
    measured.setdefault("tokens", job.tokens or 0)
    common: dict[str, Any] = {"seed": job.seed, "budget": job.budget}
    return [Trial(split=split, **common, **measured, **found) for split, found in splits.items()]


def run_trial(job: Job, *arguments: Any, **more: Any) -> Trial:
    """``run_job`` for the job's own split alone."""
    return run_job(job, *arguments, **more)[0]


def run_smoke(job: Job, dataset: Dataset, sandbox: Sandbox, limits: Limits, device: str = "cpu") -> Trial:
    """Only the smoke phase: a few steps, a checkpoint, one window. The trial has a status and a bill, no loss."""
    contract = _contract(job)
    dataset.require(contract.context)
    measured: dict[str, Any] = {}
    with closing(sandbox.open(job.label, limits)) as box:
        session = Session(box, contract, limits, device, None)
        session.begin(job.files)
        training = Training(
            session, limits, device, None, job.training_seed, dataset.training_files(job.seed, job.salt)
        )
        try:
            training.smoke(limits.smoke_tokens, dataset.vocab_size)
        except Failed as failed:
            measured |= {"status": failed.status, "phase": failed.phase, "error": failed.error}
        measured["cpu_seconds"] = box.cpu_seconds()
    return Trial(seed=job.seed, split=job.split, budget=job.budget, tokens=limits.smoke_tokens, **measured)


def evaluate(
    jobs: Sequence[Job],
    dataset: Dataset,
    sandbox: Sandbox,
    *,
    workers: int,
    peak_flops: float,
    limits: Limits,
    device: str = "cpu",
    on_event: Callable[[Job, Event], None] | None = None,
    pace: Pace | None = None,
) -> Iterator[tuple[Job, Trial]]:
    """Run jobs, ``workers`` at a time, and yield each with its trial as it ends; results do not depend on it.

    A job with further splits gives a trial for each. With one worker everything happens in this thread, in the
    order given. ``on_event`` (see ``run_job``) is called in the caller's thread too. Leaving early
    (``KeyboardInterrupt``, an error, ``close()`` of the iterator) kills every box first. Raises ``SandboxError``
    once for our own failure; trials not yet yielded are then lost.
    """

    def run(job: Job, boxes: Sandbox, tell: Callable[[Job, Event], None] | None) -> list[Trial]:
        on_metrics = None if tell is None else lambda event: tell(job, event)
        return run_job(job, dataset, boxes, peak_flops, limits, device, on_metrics, pace)

    if workers <= 1:
        for job in jobs:
            for trial in run(job, sandbox, on_event):
                yield job, trial
        return
    boxes = _Boxes(sandbox)
    todo: queue.SimpleQueue[Job] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Job, list[Trial] | Event | BaseException]] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)

    def work() -> None:
        while not boxes.stopped:
            try:
                job = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((job, run(job, boxes, None if on_event is None else lambda *told: done.put(told))))
            except BaseException as error:  # handed to the caller's thread, which raises it
                done.put((job, error))

    threads = [
        threading.Thread(target=work, name=f"trial-{number}") for number in range(min(workers, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    try:
        ended = 0
        while ended < len(jobs):
            job, what = done.get()
            if isinstance(what, BaseException):
                raise what
            if isinstance(what, list):
                ended += 1
                for trial in what:
                    yield job, trial
            elif on_event is not None:
                on_event(job, what)
    finally:
        boxes.stop()
        for thread in threads:
            thread.join()


def calibrate(sandbox: Sandbox, limits: Limits | None = None, device: str = "cpu") -> float:
    """Peak FLOP/s of the device: one thread of this CPU by a 512 x 512 float32 product, best of repeats on its cores (a
    neighbour may slow one of them for minutes), by CPU time; a known GPU by table (``peaks.py``), another one by a
    float32 product."""
    limits = limits or Limits()
    within = bounds(limits, limits.probe_cpu_seconds, device, file_bytes=0, answer_bytes=64 * KiB)
    tried: list[int | None] = [*cores()[:CALIBRATED]] if device == "cpu" else []
    peaks = []
    with closing(sandbox.open("calibrate", limits)) as box:
        begin(box, limits)
        for core in tried or [None]:
            box.send({"op": "calibrate", "device": device, "core": core, "bounds": within})
            header, _ = box.receive(within["wall_seconds"])
            answer = header.get("answer", {})
            peaks.append(tabled(str(answer.get("name"))) or answer.get("peak_flops"))
    if not all(isinstance(peak, float) and 0 < peak < 1e18 for peak in peaks):
        raise BoxLost("The calibration gave no figure.")
    return max(peaks)


def _contract(job: Job) -> Contract:
    if GENOME_TOML not in job.files:
        raise ContractError(f"{job.label} has no {GENOME_TOML}.")
    for name in job.files:
        if problem := check_name(name):
            raise ContractError(f"{job.label}: {problem}.")
    try:
        return Contract.parse(job.files[GENOME_TOML].decode())
    except UnicodeDecodeError:
        raise ContractError(f"{job.label}: {GENOME_TOML} is not UTF-8.") from None


def _train(training: Training, job: Job, dataset: Dataset) -> None:
    """Smoke, so that a crash shows before training is paid for; then the tokens of the budget; then the probe."""
    budget, limits, measured = Budget.parse(job.budget), training.limits, training.measured
    tokens = job.tokens or (int(budget.amount) if budget.unit is Unit.TOKENS else None)
    few = min(tokens or limits.smoke_tokens, limits.smoke_tokens)
    fresh = training.smoke(few, dataset.vocab_size)
    if tokens is None:
        training.to_budget(budget, fresh, few, job.parent_tokens, job.bill_deviation)
    else:
        training.keep_to(budget, training.train(tokens))
    model = training.session.inspect("probe", dataset.vocab_size)
    if measured["tokens"] > few and model.digest is not None and model.digest == fresh.digest:
        problem = "Training changed nothing: the model answers as it did after its first steps."
        raise Failed(TrialStatus.DISQUALIFIED, "probe", problem)
    measured |= {"parameters": model.parameters, "flops_per_token": model.flops_per_token}


def _mfu(measured: Mapping[str, Any], peak_flops: float) -> dict[str, float]:
    """MFU by our count, and by the 6N formula of papers; what cannot be counted is left out."""
    per_flop = measured["tokens_per_second"] / peak_flops
    found = {}
    if measured["flops_per_token"] is not None:
        found["mfu"] = measured["flops_per_token"] * per_flop
    if measured["parameters"] is not None:
        found["mfu_6n"] = 6 * measured["parameters"] * per_flop
    return found


class _Boxes:
    """A sandbox that knows the boxes opened through it, so that they can all be closed from another thread."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.name = sandbox.name
        self.stopped = False
        self._sandbox, self._lock = sandbox, threading.Lock()
        self._open: list[Box] = []

    def open(self, label: str, limits: Limits) -> Box:
        with self._lock:
            if self.stopped:
                raise SandboxError("The evaluation was stopped.")
            box = self._sandbox.open(label, limits)
            self._open.append(box)
            return box

    def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Close every box and let no further one open."""
        with self._lock:
            self.stopped = True
            boxes, self._open = self._open, []
        for box in boxes:
            box.close()
