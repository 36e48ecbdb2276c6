"""What a long history costs: the loop's own CPU a child, the commands that read, the start of a run, the disk.

    .venv/bin/python bench/history.py [INDIVIDUALS ...]

The real loop over the laboratory of the tests, whose trials cost nothing, in a workspace that is filled up with records
as bench/loop.py does it. Two generations of six children are timed, then the commands, each as a process of its own.
Bars, at 1,000 individuals: status and log 1 s, start 3 s, a child 1.5 x what it costs at 10, 20 KB on disk each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.loop import GENERATIONS, cpu, fill
from darwin import lineage, tidy
from darwin.loop import evolve
from darwin.screen import Screen
from tests.evolve.laboratory import data_set, start

DARWIN = Path(sys.executable).with_name("darwin")
COMMANDS = {
    "status": ["status"],
    "log": ["log"],
    "show": ["show", "champion"],
    "report": ["report"],
    "start": ["evolve", "-g", str(1 + GENERATIONS), "--sandbox", "process"],
}
REPEATS = 3


def seconds(command: list[str], folder: Path) -> float:
    """Least wall seconds of a command, of three times."""
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        subprocess.run([DARWIN, *command, "-C", "w"], cwd=folder, check=True, capture_output=True)
        found.append(time.perf_counter() - began)
    return min(found)


def measure(count: int) -> dict[str, float]:
    """What everything costs with so many individuals."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DARWIN_CACHE"] = name
        quiet = Screen(Console(quiet=True))
        evolution = start(folder / "w", data_set(folder), quiet, agents="rules:6", budget="20s")
        evolve(evolution, 1)
        fill(evolution, count)
        lineage.GRACE = "now"  # else what the filling left would be counted
        evolution.workspace.lineage.pack(0)
        before, births = cpu(), evolution.run.settled
        evolve(evolution, 1 + GENERATIONS)
        found = {"ms of CPU a child": 1000 * (cpu() - before) / (evolution.run.settled - births)}
        evolution.workspace.lineage.pack(0)
        taken = tidy.sizes(folder / "w")
        found["KB each"] = (taken["git"] + taken["memory"]) / 1000 / len(evolution.memory.individuals)
        return found | {f"{word}, s": seconds(command, folder) for word, command in COMMANDS.items()}


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:]] or [10, 100, 1000]
    found = {count: measure(count) for count in counts}
    print(f"| individuals | {' | '.join(found[counts[0]])} |")
    print("| --- " * (1 + len(found[counts[0]])) + "|")
    for count, numbers in found.items():
        print(f"| {count:,} | {' | '.join(f'{number:.2f}' for number in numbers.values())} |")
