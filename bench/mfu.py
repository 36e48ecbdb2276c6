"""How well the base's MFU repeats over processes, and whether its FLOPs agree with a count by hand.

    .venv/bin/python bench/mfu.py [PROCESSES] [TOKENS]

Bars: relative standard deviation 1.5 % over 8 processes on a quiet core; FLOPs within 1 %.
"""

from __future__ import annotations

import sys
from statistics import fmean, stdev

from darwin.begin import ANCESTOR
from darwin.lineage import read_genome
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, calibrate, evaluate
from darwin.sandbox.pace import Pace

LAYERS, WIDTH, HIDDEN, CONTEXT = 4, 128, 512, 64


def by_hand(vocab: int) -> float:
    """FLOPs per token of the base, forward and backward: 2 a weight and product, three times."""
    weights = LAYERS * (4 * WIDTH**2 + 2 * WIDTH * HIDDEN) + WIDTH * vocab
    attention = LAYERS * 2 * CONTEXT * WIDTH  # scores and sums over the whole window, as they are computed
    return 3 * 2 * (weights + attention)


def main(processes: int = 8, tokens: int = 120_000) -> None:
    dataset, sandbox, files = Dataset.load(prepare()), ProcessSandbox(), read_genome(ANCESTOR)
    pace = Pace(None)
    peaks, found, flops = [], [], 0.0
    for number in range(processes + 1):
        peaks.append(calibrate(sandbox))
        how = {"workers": 1, "peak_flops": peaks[0], "limits": Limits(), "pace": pace}
        ((_, trial),) = evaluate([Job("base", files, 1, tokens, "60s")], dataset, sandbox, **how)
        if number == 0:  # what the others are held against, as generation 0 of a run
            pace.settle()
            continue
        found.append(trial.mfu)
        flops = trial.flops_per_token
        print(
            f"process {number}: MFU {trial.mfu:.4f}, slowdown {trial.slowdown:.3f}, peak {peaks[-1] / 1e9:.1f} GFLOP/s",
            flush=True,
        )
    sandbox.close()
    print(
        f"MFU {fmean(found):.4f}, relative sd {stdev(found) / fmean(found):.2%}; peak {stdev(peaks) / fmean(peaks):.2%}"
    )
    hand = by_hand(dataset.vocab_size)
    print(f"FLOPs per token: {flops:,.0f} counted, {hand:,.0f} by hand ({flops / hand - 1:+.2%})")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
