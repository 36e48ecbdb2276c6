"""What a second worker brings: completed trials per wall minute with one and with two, on two cores.

    .venv/bin/python bench/parallel.py [TRIALS]

The base under a token budget of about 10 CPU seconds, TRIALS (4) of each kind in blocks of two, the kinds in turn, so
that a busy machine hits both; equal seeds have to come to equal losses. Both cores should be idle otherwise. Bar: 1.6.
"""

from __future__ import annotations

import os
import sys
import time

from darwin.begin import ANCESTOR
from darwin.lineage import read_genome
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, evaluate

BAR = 1.6
TOKENS = 120_000
BLOCK = 2
KINDS = (1, 2)


def main(trials: int = 4) -> None:
    dataset, sandbox, files = Dataset.load(prepare()), ProcessSandbox(), read_genome(ANCESTOR)

    def block(workers: int, seeds: range, tokens: int = TOKENS) -> tuple[float, dict[int, float | None]]:
        """Wall seconds of a trial for each seed, and the losses."""
        jobs = [Job(f"seed {seed}", files, seed, tokens, f"{tokens}tok") for seed in seeds]
        began = time.monotonic()
        how = {"workers": workers, "peak_flops": 1e11, "limits": Limits()}
        found = {job.seed: trial.loss for job, trial in evaluate(jobs, dataset, sandbox, **how)}
        assert None not in found.values(), "a trial came to no loss"
        return time.monotonic() - began, found

    if hasattr(os, "sched_setaffinity"):  # those who are started from here inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    seconds, losses = dict.fromkeys(KINDS, 0.0), {workers: dict[int, float | None]() for workers in KINDS}
    try:
        block(2, range(2), 2_000)  # torch is imported once, and before anything is timed
        blocks = [range(first, min(first + BLOCK, trials)) for first in range(0, trials, BLOCK)]
        for number, seeds in enumerate(blocks):
            for workers in KINDS if number % 2 == 0 else KINDS[::-1]:
                took, found = block(workers, seeds)
                seconds[workers] += took
                losses[workers] |= found
                print(f"seeds {seeds.start} to {seeds[-1]}, {workers} at a time: {took:.1f} s", flush=True)
    finally:
        sandbox.close()
    assert losses[1] == losses[2], "losses depend on the number of workers"
    one, two = (60 * trials / seconds[workers] for workers in KINDS)
    print(
        f"{TOKENS:,} tokens, {trials} trials each: {one:.2f} a minute with one worker, {two:.2f} with two: "
        f"{two / one:.2f} times; the bar is {BAR}."
    )
    sys.exit(two / one < BAR)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]))
