"""Write effect and price of every technique into its front matter, from ``trials.jsonl`` and ``prices.jsonl`` alone.

    .venv/bin/python bench/knowledge/write.py [--check]

Prints what it wrote; ``--check`` writes nothing and exits 1 if a file says otherwise. README.md says how a number
is made.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean, variance

from measure import BASE, PRICES, TRIALS, Line, genomes, lines, price

from darwin.agents.knowledge import EARLIER, FOLDER, LONG, SHORT

BEFORE = Path(__file__).resolve().parent / "earlier.json"
PER_LOG_TIME, EARLIER_SD = 0.25, 0.04  # nats, both admitted guesses: README.md, "What was measured before"

Runs = dict[tuple[str, str, int], Line]  # by technique, horizon and seed


def runs() -> Runs:
    """All trials that ended well, of scripts as they are now; the last one where one was repeated."""
    found = lines(TRIALS, genomes())
    return {(t["technique"], t["horizon"], t["seed"]): t for t in found if t["status"] == "ok"}


def prices() -> dict[str, float]:
    """CPU seconds a token over the base's, by technique."""
    return {line["technique"]: price(line) for line in lines(PRICES, genomes())}


def pairs(done: Runs, horizon: str) -> dict[str, list[tuple[Line, Line]]]:
    """Each technique's trials, a seed each, with the base's on the same seed."""
    found: dict[str, list[tuple[Line, Line]]] = defaultdict(list)
    for (id, at, seed), trial in sorted(done.items()):
        base = done.get((BASE, horizon, seed))
        if at == horizon and id != BASE and base is not None:
            found[id].append((trial, base))
    return found


def differences(done: Runs, horizon: str) -> dict[str, list[float]]:
    """Each technique's differences of log perplexity to the base, a seed each."""
    return {id: [t["loss"] - base["loss"] for t, base in found] for id, found in pairs(done, horizon).items()}


def deviation(found: dict[str, list[float]]) -> float | None:
    """Standard deviation of one difference by luck of the seed, pooled over what was tried on several."""
    several = [values for values in found.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return None
    return math.sqrt(sum(variance(values) * (len(values) - 1) for values in several) / freedom)


def mfu(found: list[tuple[Line, Line]], price: float) -> float:
    """Difference of log MFU: FLOPs a token over the base's, over the seconds that a token takes."""
    return fmean(
        math.log(trial["flops_per_token"] / base["flops_per_token"]) for trial, base in found
    ) - math.log(price)


def fronts() -> dict[str, tuple[str, str]]:
    """The two lines, ``effect`` and ``price``, of every technique's front matter; what is unknown is left out."""
    done, costs = runs(), prices()
    parts: dict[str, list[str]] = {id: [] for id in genomes() if id != BASE}
    for id, known in json.loads(BEFORE.read_text(encoding="utf-8")).items():
        mean = known["mean"] + PER_LOG_TIME * math.log(known["price"])
        parts[id].append(f"{EARLIER}: {{mean: {mean:z.3f}, sd: {EARLIER_SD}, mfu: {known['mfu']:z.3f}}}")
    for horizon in (SHORT, LONG):
        found = differences(done, horizon)
        luck = deviation(found)
        if luck is None:
            print(
                f"Nothing is written for {horizon}: no technique was tried on two seeds yet, so the noise is unknown."
            )
            continue
        for id, values in found.items():
            mean, sd = fmean(values), luck / math.sqrt(len(values))
            gain = mfu(pairs(done, horizon)[id], costs[id])
            parts[id].append(f"{horizon}: {{mean: {mean:z.3f}, sd: {sd:.3f}, mfu: {gain:z.3f}}}")
    said = {id: f"{costs[id]:.2f}" if id in costs else "null" for id in parts}
    return {id: (f"effect: {{{', '.join(part)}}}", f"price: {said[id]}") for id, part in parts.items()}


def main(check: bool) -> int:
    """The number of files that said otherwise."""
    stale = 0
    for id, (effect, cost) in fronts().items():
        path = FOLDER / f"{id}.md"
        old = path.read_text(encoding="utf-8")
        new = re.sub(r"^effect: .*$", effect, old, count=1, flags=re.MULTILINE)
        new = re.sub(r"^price: .*$", cost, new, count=1, flags=re.MULTILINE)
        stale += new != old
        print(f"{id:24} {effect}, {cost}")
        if not check and new != old:
            path.write_text(new, encoding="utf-8")
    return stale


if __name__ == "__main__":
    differ = main(check="--check" in sys.argv[1:])
    print(f"{differ} files {'say otherwise' if '--check' in sys.argv else 'were changed'}.")
    sys.exit(bool(differ) and "--check" in sys.argv)
