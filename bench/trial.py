"""The price of a trial: CPU seconds of all its phases against a bare ``python train.py`` of the same tokens.

    .venv/bin/python bench/trial.py [PAIRS] [BUDGET]

Each pair runs one after the other, in turn which goes first, so that a busy machine hits both. Bar: 1.35.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from darwin.begin import ANCESTOR
from darwin.lineage import read_genome
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, calibrate, evaluate
from darwin.sandbox.pace import Pace

BAR = 1.35


def bare(tokens: int, seed: int, data: Path) -> float:
    """CPU seconds of the script by itself, from start to exit, on one thread."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "train.py", f"--data_dir={data}", f"--out_dir={out}", f"--seed={seed}"]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        subprocess.run(
            [*command, f"--max_tokens={tokens}"], cwd=ANCESTOR, env=env, check=True, stdout=subprocess.DEVNULL
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(pairs: int = 3, budget: str = "20s") -> None:
    folder = prepare()
    dataset, sandbox, files = Dataset.load(folder), ProcessSandbox(), read_genome(ANCESTOR)
    pace = Pace(None)
    how = {"workers": 1, "peak_flops": calibrate(sandbox), "limits": Limits(), "pace": pace}

    def trial(tokens: int | None, seed: int):
        ((_, done),) = evaluate([Job("base", files, seed, tokens, budget)], dataset, sandbox, **how)
        assert done.loss is not None, done.error
        return done

    tokens = trial(None, 1).tokens
    pace.settle()
    ratios = []
    for number in range(pairs):
        first = bare(tokens, number, folder) if number % 2 == 0 else None
        done = trial(tokens, number)
        alone = first if first is not None else bare(tokens, number, folder)
        ratios.append(done.cpu_seconds / alone)
        print(
            f"pair {number + 1}: trial {done.cpu_seconds:.1f} (training {done.seconds * (done.slowdown or 1):.1f}, "
            f"judging {done.judge_seconds:.1f}), bare {alone:.1f} CPU seconds, ratio {ratios[-1]:.3f}",
            flush=True,
        )
    sandbox.close()
    print(f"{tokens:,} tokens: a trial costs {median(ratios):.3f} times a bare run; the bar is {BAR}.")
    sys.exit(median(ratios) > BAR)


if __name__ == "__main__":
    main(*(cast(word) for cast, word in zip((int, str), sys.argv[1:], strict=False)))
