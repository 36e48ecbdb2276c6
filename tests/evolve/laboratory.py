"""A deterministic stand-in for trials: loss = f(genome, seed). It drives the real loop, git and memory."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from darwin.begin import ANCESTOR, begin, create
from darwin.config import Config
from darwin.evolution import Evolution
from darwin.memory.records import Trial, TrialStatus, perplexity
from darwin.prepare import prepare
from darwin.rescue import rescue
from darwin.sandbox import Job
from darwin.screen import Screen
from darwin.workspace import is_workspace, open_workspace

PLANTED = "planted_failure"
"""A script that names this fails its smoke run and its trials here, as it would with a NameError."""


def loss_of(job: Job, split: str = "val") -> float:
    """Each changed line of code shifts the loss by an amount of its own; the seed adds a little noise."""
    total = 2.2
    for path, data in sorted(job.files.items()):
        ancestor = (ANCESTOR / path).read_bytes().splitlines() if (ANCESTOR / path).is_file() else []
        for line in sorted(set(data.splitlines()) - set(ancestor)):
            total += random.Random(hashlib.sha256(line).hexdigest()).uniform(-0.03, 0.02)
    genome = hashlib.sha256(b"".join(data for _, data in sorted(job.files.items()))).hexdigest()
    noise = random.Random(f"{genome}/{job.seed}/{job.salt}").gauss(0, 0.002)
    return max(total, 0.5) + noise + random.Random(job.seed).gauss(0, 0.005) + 0.01 * (split == "test")


def planted(files: Mapping[str, bytes]) -> bool:
    """Whether a genome is one of the quarter that fail."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).digest()[0] < 64


PHASES = ("start", "smoke", "train", "probe", "judge")


def evaluate(
    jobs: Sequence[Job], on_event: Callable[..., None] = lambda *told: None, **_: object
) -> Iterator[tuple[Job, Trial]]:
    """Like ``darwin.sandbox.evaluate``, without training; a quarter of the genomes that agents write fail."""
    for job in jobs:
        for phase in PHASES:
            on_event(job, {"event": "phase", "phase": phase})
        common = {"seed": job.seed, "split": job.split, "budget": job.budget, "tokens": job.tokens or 1000}
        error = named(job)
        if (
            error is None
            and planted(job.files)
            and not job.label.endswith("base")
            and "-edit" not in job.label
        ):
            error = "Traceback (most recent call last):\nRuntimeError: planted"
        if error is not None:
            yield (
                job,
                Trial(**common, status=TrialStatus.CRASHED, phase="train", error=error, cpu_seconds=1.0),
            )
            continue
        for split in (job.split, *job.further):
            loss = loss_of(job, split)
            measured = {
                "loss": loss,
                "perplexity": perplexity(loss),
                "mfu": 0.5,
                "seconds": 1.0,
                "judge_seconds": 0.2,
            }
            trial = Trial(
                **{**common, "split": split}, **measured, cpu_seconds=1.5, parameters=1000, peak_memory=10**8
            )
            yield job, trial


def smoke(job: Job, **_: object) -> Trial:
    """Like ``darwin.sandbox.trials.run_smoke``, without running anything: what says PLANTED fails."""
    common = {"seed": job.seed, "split": job.split, "budget": job.budget, "tokens": 1000, "cpu_seconds": 1.0}
    error = named(job)
    if error is None:
        return Trial(**common)
    return Trial(**common, status=TrialStatus.CRASHED, phase="smoke", error=error)


def named(job: Job) -> str | None:
    """What Python would say of a script that names PLANTED; None of any other."""
    for path, data in sorted(job.files.items()):
        for number, line in enumerate(data.decode().splitlines(), start=1):
            if PLANTED in line:
                return f'  File "{path}", line {number}\nNameError: name {PLANTED!r} is not defined'
    return None


def data_set(folder: Path) -> Path:
    """A small prepared data set."""
    text = folder / "text.txt"
    if not text.exists():
        words = np.random.default_rng(0).choice(["to ", "be ", "or ", "not ", "that ", "is\n"], 6000)
        text.write_text("".join(words))
    return prepare(text=text)


def start(
    folder: Path,
    data: Path,
    screen: Screen | None = None,
    wiring: dict | None = None,
    agents_file: Path | None = None,
    *,
    interactive: bool = False,
    **settings: object,
) -> Evolution:
    """An evolution over this laboratory, its workspace made if it is missing."""
    options = {"approve": "auto", "workers": 1, **settings}
    if is_workspace(folder):
        for sentence in rescue(folder):
            (screen or Screen()).say(sentence)
    else:
        create(folder, Config(**{"data": str(data), **options}), ANCESTOR, agents_file)
    workspace = open_workspace(folder)
    return begin(
        replace(workspace, config=replace(workspace.config, **options)),
        screen or Screen(),
        interactive=interactive,
        evaluate=evaluate,
        calibrate=lambda _, device: 1e11,
        smoke=smoke,
        **(wiring or {}),
    )
