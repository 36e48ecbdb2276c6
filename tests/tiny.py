"""A tiny genome, a tiny data set and small limits, for trials that are real and take a second."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from darwin.sandbox import Dataset, Job, Limits
from darwin.sandbox.box import Sandbox
from darwin.sandbox.pace import Pace
from darwin.sandbox.trials import run_trial

TINY = Path(__file__).parent / "sandbox/tiny"
VOCAB = 24
TOKENS = 8192


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """A second-hand language: the next token is mostly a fixed function of the last one."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(7)
    follows = random.permutation(VOCAB)
    tokens = [0]
    for _ in range(12_000):
        tokens.append(int(follows[tokens[-1]]) if random.random() < 0.7 else int(random.integers(VOCAB)))
    everything = np.array(tokens, dtype="<u2")
    for split, part in zip(("train", "val", "test"), np.split(everything, [10_000, 11_000]), strict=True):
        part.tofile(folder / f"{split}.bin")
    meta = {
        "kind": "tokens",
        "name": "tiny",
        "vocab_size": VOCAB,
        "bytes_per_token": 1.0,
        "tokenizer": "char",
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture(scope="session")
def dataset(data_folder: Path) -> Dataset:
    return Dataset.load(data_folder)


@pytest.fixture(scope="session")
def limits() -> Limits:
    return Limits(
        smoke_tokens=512,
        smoke_cpu_seconds=1.5,
        train_cpu_seconds=2,
        probe_cpu_seconds=3,
        judge_cpu_seconds=5,
        least_wall_seconds=6,
        wall_factor=1,
        memory_bytes=200 << 20,
        disk_bytes=8 << 20,
        disk_entries=100,
        log_bytes=1 << 20,
        log_kept_bytes=64 << 10,
        checkpoint_bytes=1 << 20,
        windows_per_batch=32,
    )


def tiny_files(**changes: tuple[str, str] | str) -> dict[str, bytes]:
    """The tiny genome; ``train="..."`` replaces train.py, ``model=(old, new)`` changes model.py."""
    files = {path.name: path.read_text() for path in sorted(TINY.iterdir()) if path.is_file()}
    for stem, change in changes.items():
        name = f"{stem}.py"
        if isinstance(change, str):
            files[name] = change
        else:
            assert change[0] in files[name]
            files[name] = files[name].replace(*change)
    return {name: text.encode() for name, text in files.items()}


def job(label: str = "tiny", *, seed: int = 1, salt: str = "", split: str = "val", **changes) -> Job:
    return Job(label, tiny_files(**changes), seed, TOKENS, "8ktok", split, salt)


def cores_of(dataset: Dataset, sandbox: Sandbox, limits: Limits, pace: Pace | None) -> list[int]:
    """The cores that a trial under a budget of time may run on, as its script sees it."""
    says = ("# anchor: settings", "import os; raise SystemExit(str(sorted(os.sched_getaffinity(0))))")
    timed = replace(job(train=says), tokens=None, budget="0.5s")
    trial = run_trial(timed, dataset, sandbox, 1e11, limits, pace=pace)
    return json.loads(trial.error.splitlines()[-1])
