"""Measure what each technique alone does to the base within an equal training time, in darwin's own sandbox.

    .venv/bin/python bench/knowledge/measure.py HORIZON [--seed N] [--most N] [ID ...]

HORIZON is 20s or 120s, each ID a technique (all of them without one). Appends a line to ``prices.jsonl`` for each
technique that was timed, to ``trials.jsonl`` for each trial that ended, and passes over what stands there, so that it
can be stopped at any time and called again. The base comes
first. ``--most`` ends after so many trials. README.md says what the lines hold, ``write.py`` makes front
matter of them.
"""

from __future__ import annotations

import argparse
import json
import math
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
from darwin.sandbox.budget import LARGER
from darwin.sandbox.contract import GENOME_TOML, Contract
from darwin.sandbox.pace import Pace
from darwin.sandbox.session import Session

HERE = Path(__file__).resolve().parent
TRIALS, PRICES, SETUP = HERE / "trials.jsonl", HERE / "prices.jsonl", HERE / "setup.json"
BASE = "base"
FIRST = 1  # the seed on which the base finds out how many tokens the short horizon buys
TIMED_TOKENS = 9_216  # of a run that is timed: twelve steps of the base
LEAST, MOST = 4, 8  # rounds of timing
CALM = 1.05  # rounds go on until the base took at most this much longer than at its best ever
KEPT = (
    "tokens",
    "loss",
    "seconds",
    "flops_per_token",
    "parameters",
    "peak_memory",
    "cpu_seconds",
    "status",
    "error",
)

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


def lines(path: Path, which: dict[str, dict[str, bytes]]) -> list[Line]:
    """All that is stored of scripts that are still what was measured."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    current = {id: digest(files) for id, files in which.items()}
    return [line for line in found if current.get(line["technique"]) == line["script"]]


def append(path: Path, line: Line) -> None:
    line |= {"load": round(os.getloadavg()[0], 1), "ended": round(time.time())}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def price(line: Line) -> float:
    """CPU seconds a token over the base's; the least of the runs each, since other work can only add to it."""
    least = {key: min(seconds) for key, seconds in line.items() if key.endswith("seconds")}
    return (least["seconds"] - least["start_seconds"]) / (least["base_seconds"] - least["base_start_seconds"])


def prepared() -> Dataset:
    """The corpus, prepared as darwin prepares any text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "torch-source.txt")
        file.write_text(corpus.text(), encoding="utf-8")
        return Dataset.load(prepare(text=file))


def setup(dataset: Dataset, sandbox: ProcessSandbox) -> dict[str, Any]:
    """What all calls share; exits where text or torch are not those of the first one."""
    now = {"corpus": dataset.digest, "torch": version("torch")}
    if SETUP.exists():
        known: dict[str, Any] = json.loads(SETUP.read_text(encoding="utf-8"))
        for key, value in now.items():
            if known[key] != value:
                sys.exit(
                    f"{SETUP}: {key} was {known[key]}, here it is {value}. Move the data away to begin anew."
                )
        return known
    known = {
        **now,
        "characters": sum(len(split) for split in dataset.splits.values()),
        "symbols": dataset.vocab_size,
        "processor": platform.processor() or platform.machine(),
        "peak_flops": calibrate(sandbox),
    }
    SETUP.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return known


class Clock:
    """Runs a script on so many tokens again and again, on one server: the first time here, to warm it up."""

    def __init__(
        self, files: dict[str, bytes], dataset: Dataset, sandbox: ProcessSandbox, tokens: int
    ) -> None:
        self._box = sandbox.open("clock", Limits())
        contract = Contract.parse(files[GENOME_TOML].decode())
        self._session = Session(self._box, contract, Limits(), "cpu", None)
        self._session.begin(files)
        self._data, self._tokens = dataset.training_files(1, ""), tokens
        self.sample()

    def sample(self) -> float:
        """CPU seconds of a run now."""
        most = Limits().smoke_cpu_seconds
        report = self._session.train("clock", self._data, 1, self._tokens, most)
        self._session.check("clock", report, most)
        return report.cpu_seconds

    def close(self) -> None:
        """End its server."""
        self._box.close()


def clocks(files: dict[str, bytes], dataset: Dataset, sandbox: ProcessSandbox) -> tuple[Clock, Clock]:
    """What samples the CPU seconds of a short run of a script, and of its first step, which starting up is most of."""
    return Clock(files, dataset, sandbox, TIMED_TOKENS), Clock(files, dataset, sandbox, 1)


def timed(its: tuple[Clock, Clock], base: tuple[Clock, Clock], best: float) -> Line:
    """CPU seconds of a script's runs and first steps and the base's, in turn, so that a busy machine hits all; until
    a calm moment came, in which the base was about as fast as ``best``."""
    runs = dict(
        zip(("seconds", "start_seconds", "base_seconds", "base_start_seconds"), (*its, *base), strict=True)
    )
    found: Line = {key: [] for key in runs}
    for number in range(MOST):
        if number >= LEAST and min(found["base_seconds"]) <= CALM * best:
            break
        for key, run in runs.items():
            found[key].append(run.sample())
    return found


def tokens_for(horizon: str, id: str, seed: int, done: list[Line], prices: dict[str, float]) -> int | None:
    """Tokens of a trial: the base's at this horizon and seed, over the technique's price; None where time decides."""
    base = {(t["horizon"], t["seed"]): t["tokens"] for t in done if t["technique"] == BASE}
    if id != BASE:
        return round(base[horizon, seed] / prices[id])
    if (SHORT, FIRST) not in base:
        return None
    return base[SHORT, FIRST] * (1 if horizon == SHORT else LARGER)


def main(horizon: str, seed: int, most: int, ids: list[str]) -> int:
    """Run the trials that are missing; the number of those still missing."""
    which = genomes()
    for id in ids:
        if id not in which:
            sys.exit(f'There is no technique "{id}" with edits; there are {", ".join(which)}.')
    done = lines(TRIALS, which)
    known_prices = lines(PRICES, which)
    prices = {line["technique"]: price(line) for line in known_prices}
    best = min((second for line in known_prices for second in line["base_seconds"]), default=math.inf)
    have = {(t["technique"], t["horizon"], t["seed"]) for t in done}
    wanted = [(BASE, SHORT, FIRST), *((id, horizon, seed) for id in (BASE, *(ids or which)))]
    missing = [trial for trial in dict.fromkeys(wanted) if trial not in have]
    if not missing:
        return 0
    dataset, sandbox = prepared(), ProcessSandbox()
    known = setup(dataset, sandbox)
    base = clocks(which[BASE], dataset, sandbox)
    for id, at, number in missing[:most]:
        named: Line = {"technique": id, "script": digest(which[id])}
        if id != BASE and id not in prices:
            its = clocks(which[id], dataset, sandbox)
            line = named | {"tokens": TIMED_TOKENS} | timed(its, base, best)
            append(PRICES, line)
            for clock in its:
                clock.close()
            prices[id], best = price(line), min(best, *line["base_seconds"])
        tokens = tokens_for(at, id, number, done, prices)
        pace = Pace(None) if tokens is None else None
        job = Job(id, which[id], number, tokens, at, times=1 if at == SHORT else LARGER)
        how: dict[str, Any] = {
            "workers": 1,
            "peak_flops": known["peak_flops"],
            "limits": Limits(),
            "pace": pace,
        }
        ((_, trial),) = evaluate([job], dataset, sandbox, **how)
        found = trial.model_dump(mode="json")
        line = named | {"horizon": at, "seed": number} | {key: found[key] for key in KEPT}
        append(TRIALS, line)
        done.append(line)
    for clock in base:
        clock.close()
    sandbox.close()
    return len(missing[most:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("horizon", choices=(SHORT, LONG))
    parser.add_argument("--seed", type=int, default=FIRST)
    parser.add_argument("--most", type=int, default=1_000)
    parser.add_argument("ids", nargs="*", metavar="ID")
    given = parser.parse_intermixed_args()
    left = main(given.horizon, given.seed, given.most, given.ids)
    print(f"{left} trials are still missing.")
    sys.exit(3 if left else 0)
