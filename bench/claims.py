"""The winner's curse: what verdicts claimed of champions, against what new seeds say of them on the same text.

    .venv/bin/python bench/claims.py WORKSPACE...

Claimed is the effect that the gate shows, on the validation split; confirmed is the same pair of scripts on the seeds
of the closing comparison, which chose nothing, on the same split and the same tokens. Where a workspace has no such
trials they are trained, in a copy. Bar: over five evolutions the 95 % interval of the mean difference contains 0.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console
from scipy.stats import t as student

from darwin import verdicts
from darwin.begin import begin
from darwin.closing import SEEDS
from darwin.measure import Wanted, measure
from darwin.screen import Screen
from darwin.workspace import locked, open_workspace


def effects(folder: Path) -> tuple[str, float, float] | None:
    """(champion, claimed, confirmed) in nats; None where nothing was proven better."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(folder, Path(place, "w"), symlinks=True))
        with locked(copy):
            evolution = begin(open_workspace(copy), Screen(Console(quiet=True)), interactive=False)
            champion = evolution.memory.individuals.get(evolution.run.champion or "")
            if champion is None or champion.verdict is None:
                return None
            pair = champion.id, champion.verdict.against
            seeds = evolution.seeds("closing", SEEDS)
            people = evolution.memory.individuals
            measure(evolution, [Wanted(people[i], seed) for seed in seeds for i in pair])
            mine, theirs = (people[i] for i in pair)
            found = verdicts.paired(mine, theirs, seeds, "val", evolution.run.budget)
            return champion.id, champion.verdict.effect, fmean(p.mine - p.theirs for p in found)


def main(folders: list[str]) -> None:
    curses = []
    for folder in folders:
        found = effects(Path(folder))
        if found is None:
            print(f"{folder}: nothing was proven better")
            continue
        champion, claimed, confirmed = found
        curses.append(claimed - confirmed)
        print(
            f"{folder}: {champion} claimed {math.expm1(claimed):+.2%}, confirmed {math.expm1(confirmed):+.2%}, "
            f"difference {curses[-1]:+.4f} nats",
            flush=True,
        )
    if len(curses) < 2:
        sys.exit("Fewer than two claims: there is no interval.")
    reach = student.ppf(0.975, len(curses) - 1) * stdev(curses) / math.sqrt(len(curses))
    low, high = fmean(curses) - reach, fmean(curses) + reach
    print(f"{len(curses)} claims: mean difference {fmean(curses):+.4f} nats ({low:+.4f} to {high:+.4f})")
    sys.exit(not low <= 0 <= high)


if __name__ == "__main__":
    main(sys.argv[1:])
