"""Measure the pool that ``darwin calibrate`` draws from: reseeded copies of the base, and edits of known effect.

    .venv/bin/python bench/pool.py >> bench/pool.jsonl

One line a training run: ``kind`` (copy, base or edit), ``name``, ``seed``, ``tokens``, ``loss`` in nats per token over
the whole validation split, ``cpu_seconds`` of all its phases. Copies differ by seed alone (data order, rotation,
initialisation); edits and the base are trained on the same seeds, so that they pair. About 15 minutes on one core.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from darwin.begin import ANCESTOR
from darwin.lineage import read_genome
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, evaluate

TOKENS = 20_000
COPIES = 104
SEEDS = 10
EDITS = {"rate-1.1": "1.1e-3", "rate-1.25": "1.25e-3", "rate-2": "2e-3"}
STANDS = b"\nlearning_rate = 1e-3\n"


def jobs() -> list[Job]:
    """Copies first, then the base and each edit on the same seeds."""
    files = read_genome(ANCESTOR)
    assert STANDS in files["train.py"], "the ancestor's learning rate is written otherwise now"
    budget = f"{TOKENS // 1000}ktok"
    found = [Job(f"copy {n}", files, 1, TOKENS, budget, salt=f"copy {n}") for n in range(COPIES)]
    for seed in range(1, SEEDS + 1):
        found.append(Job("base", files, seed, TOKENS, budget))
        for name, rate in EDITS.items():
            changed = files["train.py"].replace(STANDS, f"\nlearning_rate = {rate}\n".encode())
            found.append(Job(f"edit {name}", {**files, "train.py": changed}, seed, TOKENS, budget))
    return found


def main() -> None:
    dataset = Dataset.load(prepare())
    for job, trial in evaluate(
        jobs(), dataset, ProcessSandbox(), workers=1, peak_flops=1e11, limits=Limits()
    ):
        kind, _, name = job.label.partition(" ")
        line = {"kind": kind, "name": name, "seed": job.seed, "tokens": trial.tokens, "loss": trial.loss}
        print(json.dumps({**line, "cpu_seconds": trial.cpu_seconds}), flush=True)
        if trial.loss is None:
            sys.exit(f"{job.label}: {trial.error}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
