"""Sampling: text from a script's model, for people to read. It is trained anew, confined as any trial, and nothing is
scored: what it says decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np

from darwin.sandbox.box import Sandbox
from darwin.sandbox.contract import GENOME_TOML, Contract
from darwin.sandbox.dataset import Dataset
from darwin.sandbox.limits import Limits
from darwin.sandbox.session import Session
from darwin.sandbox.trials import Job


def sample(
    job: Job,
    dataset: Dataset,
    sandbox: Sandbox,
    limits: Limits,
    prompt: Sequence[int],
    count: int,
    temperature: float,
    device: str = "cpu",
) -> Iterator[int]:
    """Train a job on its tokens, then yield ``count`` tokens that go on from ``prompt`` (at least one token).

    Equal jobs, prompts and temperatures give equal text. Raises ``Failed`` for what the script did.
    """
    contract = Contract.parse(job.files[GENOME_TOML].decode())
    data = dataset.training_files(job.seed, job.salt)
    chance = np.random.default_rng(job.seed)
    tokens = list(prompt)
    with closing(sandbox.open(job.label, limits)) as box:
        session = Session(box, contract, limits, device, None)
        session.begin(job.files)
        most = limits.train_cpu_seconds
        report = session.train("train", data, job.training_seed, job.tokens or limits.smoke_tokens, most)
        session.check("train", report, most)
        for _ in range(count):
            past = tokens[-contract.context :]
            window = np.zeros(
                (1, contract.context), dtype=np.uint16
            )  # what comes after the past is not looked at
            window[0, : len(past)] = past
            logits, _ = session.logits("sample", window, dataset.vocab_size, limits.probe_cpu_seconds)
            scores = logits[0, len(past) - 1].astype(np.float64) / temperature
            weights = np.exp(scores - scores.max())
            tokens.append(int(chance.choice(len(weights), p=weights / weights.sum())))
            yield tokens[-1]
