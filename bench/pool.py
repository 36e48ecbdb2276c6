"""Measure the pool that ``darwin calibrate`` draws from: reseeded copies of the base, and edits of known effect.

    .venv/bin/python bench/pool.py copies >> bench/pool.jsonl
    .venv/bin/python bench/pool.py pairs >> bench/pool.jsonl

``copies`` are many and small (20 k tokens), to see rare errors. ``pairs`` are the base and two edits at about what
the default budget buys the base, to see how edits pair there. One line a training run: ``kind`` (copy, base or edit),
``name``, ``seed``, ``tokens``, ``loss`` in nats per token over the whole validation split, ``cpu_seconds`` of all its
phases. Copies differ by seed alone (data order, rotation, initialisation); edits and the base are trained on the same
seeds, so that they pair. About 15 minutes each on one core.
"""

from __future__ import annotations

import json
import sys

from darwin.begin import ANCESTOR
from darwin.lineage import read_genome
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, evaluate

TOKENS = {"copies": 20_000, "pairs": 280_000}
COPIES = 104
SEEDS = 10
EDITS = {"rate-1.1": "1.1e-3", "rate-1.25": "1.25e-3"}
STANDS = b"\nlearning_rate = 1e-3\n"


def jobs(part: str) -> list[Job]:
    """Reseeded copies, or the base and each edit on the same seeds."""
    files = read_genome(ANCESTOR)
    assert STANDS in files["train.py"], "the ancestor's learning rate is written otherwise now"
    tokens = TOKENS[part]
    budget = f"{tokens // 1000}ktok"
    if part == "copies":
        return [Job(f"copy {n}", files, 1, tokens, budget, salt=f"copy {n}") for n in range(COPIES)]
    found = []
    for seed in range(1, SEEDS + 1):
        found.append(Job("base", files, seed, tokens, budget))
        for name, rate in EDITS.items():
            changed = files["train.py"].replace(STANDS, f"\nlearning_rate = {rate}\n".encode())
            found.append(Job(f"edit {name}", {**files, "train.py": changed}, seed, tokens, budget))
    return found


def main(part: str) -> None:
    dataset = Dataset.load(prepare())
    for job, trial in evaluate(
        jobs(part), dataset, ProcessSandbox(), workers=1, peak_flops=1e11, limits=Limits()
    ):
        kind, _, name = job.label.partition(" ")
        line = {"kind": kind, "name": name, "seed": job.seed, "tokens": trial.tokens, "loss": trial.loss}
        print(json.dumps({**line, "cpu_seconds": trial.cpu_seconds}), flush=True)
        if trial.loss is None:
            sys.exit(f"{job.label}: {trial.error}")


if __name__ == "__main__":
    if sys.argv[1:] not in (["copies"], ["pairs"]):
        sys.exit("Say which: bench/pool.py copies, or bench/pool.py pairs.")
    main(sys.argv[1])
