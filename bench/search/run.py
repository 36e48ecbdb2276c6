"""The search against others, and without each of its parts, over the surrogate: docs/benchmarks.md and its picture.

    .venv/bin/python bench/search/run.py [REPETITIONS] [PROCESSES]

Every repetition is the real loop (world.py) with a seed of its own, five generations of six agents. Greedy gets as many
children as the genetic algorithm's CPU seconds pay for, and in another arm as many as fit into its wall time on two
workers, of which greedy can use one. Results are appended to bench/search/runs.jsonl, so that it goes on where it
stopped; remove that file when the loop, the knowledge or the sets have changed. About 1.5 CPU seconds a run.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import surrogate
import world

from darwin.agents import knowledge

HERE = Path(__file__).parent
RUNS = HERE / "runs.jsonl"
DOCS = HERE.parents[1] / "docs"
GENERATIONS = 5
PILOT = 12
"""Repetitions of the genetic algorithm that say what greedy may spend."""
FEWER = 3
"""Arms that leave a part out get so many times fewer repetitions than those against greedy."""

PLANTED = "planted-head-start"
PLANT = (-math.log(1 - 0.25), 0.0)
"""Gains of the planted head start, in nats: 25 % of perplexity at the budget, nothing at six times it."""

PLANT_FILE = f"""---
id: {PLANTED}
title: Planted head start
family: embedding
source: {{authors: Nobody, title: "What only wins short trials", year: 2026, arxiv: null}}
changes: Win short trials alone
effect: {{}}
price: null
conflicts: []
---
Nothing is known of it.

## Edits

### train.py
<<<<<<< SEARCH
# Model.
mlp_width
=======
# Model.
planted_head_start = True
mlp_width
>>>>>>> REPLACE
"""


@dataclass(frozen=True)
class Arm:
    """One way to search; ``scale`` is the share of the usual children that it gets."""

    name: str
    search: str = "ga"
    control: str | None = None
    planted: bool = False
    generations: int = GENERATIONS
    part: bool = False


def arms(equal_cpu: int, equal_wall: int) -> list[Arm]:
    """All arms; those of greedy with the generations that the same CPU seconds or wall time allow."""
    left_out = ("no-memory", "no-knowledge", "no-crossover", "no-archive", "no-ablation", "own-code")
    return [
        Arm("ga"),
        Arm("greedy, equal CPU", "greedy", generations=equal_cpu),
        Arm("greedy, equal wall", "greedy", generations=equal_wall),
        Arm("random", "random", part=True),
        *(Arm(f"ga, {control}", control=control, part=True) for control in left_out),
        Arm("greedy, no-knowledge", "greedy", "no-knowledge", generations=equal_cpu, part=True),
        Arm("ga, planted", planted=True),
        Arm("greedy, planted", "greedy", planted=True, generations=equal_cpu, part=True),
    ]


@cache
def fitted() -> surrogate.Surrogate:
    """The surrogate of the measured sets."""
    return surrogate.fit(surrogate.read())


def plant() -> None:
    """Let the knowledge base hold the planted technique, for this process."""
    if any(t.id == PLANTED for t in knowledge.techniques()):
        return
    folder = Path(tempfile.mkdtemp(prefix="darwin-planted-"))
    for path in knowledge.FOLDER.glob("*.md"):
        shutil.copy(path, folder)
    (folder / f"{PLANTED}.md").write_text(PLANT_FILE)
    knowledge.FOLDER = folder
    knowledge.techniques.cache_clear()


def one(task: tuple[Arm, int]) -> dict[str, Any]:
    """One run of an arm; its line."""
    arm, seed = task
    model = fitted()
    if arm.planted:
        plant()
        model.planted = {f"technique:{PLANTED}": PLANT}
    begun = world.begin(model, seed, arm.search, arm.control)
    found = world.outcome(begun, arm.generations)
    carries = found.pop("has").get(f"technique:{PLANTED}", 0.0) > 0
    return {"arm": arm.name, "generations": arm.generations, "seed": seed, "carries_plant": carries, **found}


def collect(wanted: Iterable[tuple[Arm, int]], processes: int) -> list[dict[str, Any]]:
    """The lines of the wanted runs, those known and those that are missing."""
    known = [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []
    by_key = {(line["arm"], line["generations"], line["seed"]): line for line in known}
    wanted = list(wanted)
    missing = [(arm, seed) for arm, seed in wanted if (arm.name, arm.generations, seed) not in by_key]
    # Planted runs change what a process knows, so they get processes of their own.
    for planted in (False, True):
        tasks = [task for task in missing if task[0].planted is planted]
        with Pool(processes) as pool, RUNS.open("a") as out:
            for line in pool.imap_unordered(one, tasks):
                out.write(json.dumps(line) + "\n")
                out.flush()
                by_key[line["arm"], line["generations"], line["seed"]] = line
    return [by_key[arm.name, arm.generations, seed] for arm, seed in wanted]


def percent(gain: float) -> float:
    """A gain in nats as a change of perplexity in per cent; lower is better."""
    return 100 * math.expm1(-gain)


def interval(
    values: Sequence[float], statistic: Callable[[Sequence[float]], float] = fmean
) -> tuple[float, float]:
    """95 % of bootstrap resamples of a statistic."""
    chance = random.Random(1)
    drawn = sorted(statistic(chance.choices(values, k=len(values))) for _ in range(500))
    return drawn[12], drawn[487]


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Markdown: what each arm came to, and how often it beats the genetic algorithm's closing gain."""
    by_arm: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_arm.setdefault(line["arm"], []).append(line)
    ga = {line["seed"]: line["long"] for line in by_arm["ga"]}
    rows = [
        "| search | runs | children | CPU seconds | at the budget | **at six times it** | claimed less confirmed | "
        "the full search is better at six times |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in by_arm.items():
        long, short = ([percent(line[key]) for line in found] for key in ("long", "short"))
        bias = [percent(line["claimed"]) - percent(line["short"]) for line in found]
        low, high = interval(long)
        won = [ga[line["seed"]] > line["long"] for line in found if line["seed"] in ga]
        duel = "" if name == "ga" or "planted" in name else f"{fmean(won):.0%} of {len(won)}"
        rows.append(
            f"| {name} | {len(found)} | {fmean(line['children'] for line in found):.0f} "
            f"| {fmean(line['cpu_seconds'] for line in found):,.0f} | {fmean(short):+.1f} % "
            f"| **{fmean(long):+.1f} %** ({low:+.1f} to {high:+.1f}) | {fmean(bias):+.2f} | {duel} |"
        )
    planted = {name: found for name, found in by_arm.items() if "planted" in name}
    for name, found in planted.items():
        carried = sum(line["carries_plant"] for line in found)
        rows += ["", f"{name}: the planted head start is in {carried} of {len(found)} final champions."]
    return "\n".join(rows)


def picture(model: surrogate.Surrogate, lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Gains at six times the budget by arm, and the surrogate's error on sets it had not seen."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    by_arm: dict[str, list[float]] = {}
    for line in lines:
        by_arm.setdefault(line["arm"], []).append(percent(line["long"]))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), width_ratios=(3, 2))
    names = list(by_arm)[::-1]
    left.boxplot([by_arm[name] for name in names], orientation="horizontal", tick_labels=names, widths=0.6)
    left.set_xlabel("change of perplexity at six times the budget, %")
    left.set_title("Champions over the surrogate")
    right.scatter([percent(m) for m, _ in model.held_out], [percent(f) for _, f in model.held_out], s=14)
    ends = [percent(value) for pair in model.held_out for value in pair] or [0.0]
    right.plot([min(ends), max(ends)], [min(ends), max(ends)], linewidth=1, color="gray")
    right.set_xlabel("measured, %")
    right.set_ylabel("foretold, %")
    error = (
        "not told: too few sets" if model.error is None else f"root mean square error {model.error:.3f} nats"
    )
    right.set_title(f"{len(model.held_out)} held-out sets: {error}")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(repetitions: int = 200, processes: int = 1) -> None:
    pilot = collect(((Arm("ga"), seed) for seed in range(1, PILOT + 1)), processes)
    short = collect(((Arm("greedy", "greedy"), seed) for seed in range(1, PILOT + 1)), processes)
    spent, base = (fmean(line["cpu_seconds"] for line in found) for found in (pilot, short))
    child = world.COST[1] * world.AGENTS
    equal_cpu = max(1, round(GENERATIONS + (spent - base) / child))
    beside = (
        base - GENERATIONS * child
    )  # what greedy spends beside its children: it can use both workers there
    equal_wall = max(1, round((spent / 2 - beside / 2) / child))
    wanted = [
        (arm, seed)
        for arm in arms(equal_cpu, equal_wall)
        for seed in range(1, (repetitions // FEWER if arm.part else repetitions) + 1)
    ]
    lines = collect(wanted, processes)
    model = fitted()
    text = table(lines)
    print(text)
    spread = stdev(percent(line["long"]) for line in lines if line["arm"] == "ga")
    print(f"\nThe full search's gain at six times the budget varies by {spread:.1f} points from run to run.")
    print("Held-out error:", "too few sets" if model.error is None else f"{model.error:.3f} nats")
    picture(model, lines, DOCS / "search.png")
    print(f"Picture: {DOCS / 'search.png'}. The table goes into {DOCS / 'benchmarks.md'}.")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
