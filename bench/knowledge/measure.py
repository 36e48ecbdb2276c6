"""Measure what each technique alone does to the base, as darwin itself measures: one trial a call of ``evaluate``.

    .venv/bin/python bench/knowledge/measure.py HORIZON [--seed N] [--most N] [ID ...]

HORIZON is 20s or 120s, each ID a technique (all of them without one). Appends a line to ``trials.jsonl`` for each trial
that ended and passes over what stands there, so that it can be stopped at any time and called again. The base comes
first. ``--most`` ends after so many trials. README.md says what the lines hold, ``write.py`` makes front
matter of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import corpus

from darwin.agents import edits, fingerprint
from darwin.agents.knowledge import LONG, SHORT, techniques
from darwin.begin import ANCESTOR
from darwin.lineage import read_genome
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, calibrate, evaluate
from darwin.sandbox.budget import LARGER, Budget
from darwin.sandbox.pace import Pace

HERE = Path(__file__).resolve().parent
TRIALS, SETUP = HERE / "trials.jsonl", HERE / "setup.json"
BASE = "base"
KEPT = (
    "tokens", "loss", "seconds", "slowdown", "mfu", "flops_per_token", "tokens_per_second", "parameters",
    "peak_memory", "cpu_seconds", "status", "error",
)  # fmt: skip

Line = dict[str, Any]


def genomes() -> dict[str, dict[str, bytes]]:
    """The base and the base with each technique's edits, by id; genome.toml included."""
    base = read_genome(ANCESTOR)
    texts = {name: data.decode() for name, data in base.items()}
    found = {BASE: dict(base)}
    for technique in techniques():
        if technique.edits:
            changed = edits.apply(technique.edits, texts)
            found[technique.id] = {name: text.encode() for name, text in changed.items()}
    return found


def digest(files: dict[str, bytes]) -> str:
    """What tells one version of a technique's script from another; comments do not count."""
    return fingerprint({name: data.decode() for name, data in files.items()})[:16]


def lines(which: dict[str, dict[str, bytes]]) -> list[Line]:
    """All stored trials whose script is still the one that was measured."""
    if not TRIALS.exists():
        return []
    found = [json.loads(line) for line in TRIALS.read_text(encoding="utf-8").splitlines()]
    current = {id: digest(files) for id, files in which.items()}
    return [line for line in found if current.get(line["technique"]) == line["script"]]


def prepared() -> Dataset:
    """The corpus, prepared as darwin prepares any text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "torch-source.txt")
        file.write_text(corpus.text(), encoding="utf-8")
        return Dataset.load(prepare(text=file))


def setup(dataset: Dataset, sandbox: ProcessSandbox) -> dict[str, Any]:
    """Peak and quiet pace of the first call, which all later ones share; exits where text or torch differ."""
    now = {"corpus": dataset.digest, "torch": version("torch")}
    if SETUP.exists():
        known: dict[str, Any] = json.loads(SETUP.read_text(encoding="utf-8"))
        for key, value in now.items():
            if known[key] != value:
                sys.exit(
                    f"{SETUP}: {key} was {known[key]}, here it is {value}. Move both files away to begin anew."
                )
        return known
    files = read_genome(ANCESTOR)
    pace = Pace(sandbox, files, dataset, Limits(), None)
    known = {
        **now,
        "characters": sum(len(split) for split in dataset.splits.values()),
        "symbols": dataset.vocab_size,
        "processor": platform.processor() or platform.machine(),
        "peak_flops": calibrate(sandbox),
        "quiet": pace.settle(),
    }
    pace.close()
    SETUP.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return known


def tokens_for(horizon: str, id: str, seed: int, done: list[Line]) -> int | None:
    """Tokens of a trial: found out at the short horizon; at the long one, what the short trial's bill tells."""
    if horizon == SHORT:
        return None
    short = [t for t in done if (t["technique"], t["horizon"]) == (id, SHORT) and t["status"] == "ok"]
    same = [t for t in short if t["seed"] == seed] or short
    if not same:
        sys.exit(f"{id} has no trial at {SHORT} yet, which says how fast it is. Measure that first.")
    return round(LARGER * same[0]["tokens"] * Budget.parse(SHORT).amount / same[0]["seconds"])


def main(horizon: str, seed: int, most: int, ids: list[str]) -> int:
    """Run the trials that are missing; the number of those still missing."""
    which = genomes()
    for id in ids:
        if id not in which:
            sys.exit(f'There is no technique "{id}" with edits; there are {", ".join(which)}.')
    done = lines(which)
    have = {(t["technique"], t["horizon"], t["seed"]) for t in done}
    missing = [
        id for id in [BASE, *(ids or [i for i in which if i != BASE])] if (id, horizon, seed) not in have
    ]
    if not missing:
        return 0
    dataset, sandbox = prepared(), ProcessSandbox()
    known = setup(dataset, sandbox)
    pace = Pace(sandbox, read_genome(ANCESTOR), dataset, Limits(), known["quiet"])
    times = 1 if horizon == SHORT else LARGER
    how: dict[str, Any] = {"workers": 1, "peak_flops": known["peak_flops"], "limits": Limits(), "pace": pace}
    for id in missing[:most]:
        job = Job(id, which[id], seed, tokens_for(horizon, id, seed, done), horizon, times=times)
        ((_, trial),) = evaluate([job], dataset, sandbox, **how)
        found = trial.model_dump(mode="json")
        line = {"technique": id, "horizon": horizon, "seed": seed, "script": digest(which[id])}
        line |= {key: found[key] for key in KEPT} | {"load": os.getloadavg()[0], "ended": round(time.time())}
        with TRIALS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(
            f"{id:24} {horizon} seed {seed}: loss {trial.loss}, {trial.tokens:,} tokens, {trial.seconds} s",
            flush=True,
        )
    pace.close()
    sandbox.close()
    return len(missing[most:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("horizon", choices=(SHORT, LONG))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=1_000)
    parser.add_argument("ids", nargs="*", metavar="ID")
    given = parser.parse_intermixed_args()
    left = main(given.horizon, given.seed, given.most, given.ids)
    print(f"{left} trials are still missing.")
    sys.exit(3 if left else 0)
