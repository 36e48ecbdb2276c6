"""The audit: the checks of a trial on any genome folder, each with what it means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from darwin.lineage import read_genome
from darwin.memory.records import Trial, TrialStatus
from darwin.sandbox import Dataset, Job, Limits, evaluate
from darwin.sandbox.box import Sandbox
from darwin.sandbox.contract import GENOME_TOML, Contract
from darwin.sandbox.pace import Pace

PROBES = 4
"""Batches of altered windows that are asked for; a trial takes one."""


@dataclass(frozen=True)
class Line:
    """One line of the verdict: what was checked, whether it passed (None: not reached), and what that means."""

    name: str
    passed: bool | None
    meaning: str


CHECKS = (
    ("carried", "the script carries no text of the held-out splits, and is small enough to be code"),
    (
        "smoke",
        "a few steps run, leave a checkpoint below the size limit, and load gives float logits (B, T, V)",
    ),
    ("training", "trains to its end within the CPU, memory, disk and process limits"),
    ("changed", "training changes what the model answers"),
    ("outputs", "all judged logits are finite and of the right shape, each batch from a fresh process"),
    ("cost", "judging costs at most 3 times the base's CPU seconds"),
    ("determinism", "the same windows get the same logits"),
    ("batch", "a window's logits do not depend on the other windows of its batch"),
    ("future", "logits up to a position do not change when later tokens are replaced"),
)


def audit(
    folder: Path, base: Path, dataset: Dataset, sandbox: Sandbox, budget: str, device: str = "cpu"
) -> tuple[Trial, list[Line]]:
    """Train a genome once, probe and judge it; its trial and the lines of the verdict.

    The base is trained and judged before it, for the cost of judging and, under a budget of time, the pace of the
    machine: a busy one puts no honest script over its budget. Raises ``UsageError`` or ``ContractError`` for a folder
    that is no genome.
    """
    files, reference = read_genome(folder), read_genome(base)
    Contract.parse(files[GENOME_TOML].decode())
    limits = Limits()
    jobs = [
        Job("base", reference, 1, None, budget),
        Job(folder.name, files, 1, None, budget, probes=PROBES),
    ]
    if jobs[0].files == files:
        jobs = jobs[1:]
    trial = None
    pace = Pace(None)
    for job in jobs:
        for _, trial in evaluate(
            [job], dataset, sandbox, workers=1, peak_flops=1.0, limits=limits, device=device, pace=pace
        ):
            if job.label == "base" and trial.judge_seconds is not None:
                limits = Limits().after_base(trial.seconds or 0.0, trial.judge_seconds)
                limits = replace(limits, train_cpu_seconds=Limits().train_cpu_seconds)
                pace.settle()
    assert trial is not None
    return trial, explain(trial)


def explain(trial: Trial) -> list[Line]:
    """The lines of the verdict on a trial: which check failed, which were passed before it, which not reached."""
    failed = _failed(trial)
    names = [name for name, _ in CHECKS]
    reached = names.index(failed) if failed else len(names)
    lines = []
    for number, (name, meaning) in enumerate(CHECKS):
        if number == reached:
            lines.append(Line(name, False, (trial.error or "").strip().partition("\n")[0] or meaning))
        else:
            lines.append(Line(name, True if number < reached else None, meaning))
    return lines


def _failed(trial: Trial) -> str | None:
    if trial.status is TrialStatus.OK:
        return None
    error = trial.error or ""
    if trial.status is TrialStatus.DISQUALIFIED:
        words = {
            "carries text": "carried",
            "code, not data": "carried",
            "changed nothing": "changed",
            "at random": "determinism",
            "other windows": "batch",
        }
        return next((name for part, name in words.items() if part in error), "future")
    if trial.phase == "judge":
        return "cost" if trial.status is TrialStatus.TIMED_OUT else "outputs"
    if trial.phase == "probe":
        return "outputs"
    return "smoke" if trial.phase == "smoke" else "training"
