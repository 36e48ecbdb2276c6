"""Write effect and price of every technique into its front matter, from ``trials.jsonl`` alone.

    .venv/bin/python bench/knowledge/write.py [--check]

Prints what it wrote; ``--check`` writes nothing and exits 1 if a file says otherwise. README.md says how a number
is made.
"""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from statistics import fmean, variance

from measure import BASE, Line, genomes, lines

from darwin.agents.knowledge import FOLDER, LONG, SHORT

Runs = dict[tuple[str, str, int], Line]  # by technique, horizon and seed


def runs() -> Runs:
    """All trials that ended well, of scripts as they are now; the last one where one was repeated."""
    return {(t["technique"], t["horizon"], t["seed"]): t for t in lines(genomes()) if t["status"] == "ok"}


def slope(done: Runs) -> float | None:
    """Nats per token that the base gains from one horizon to the other, for each factor e of the bill."""
    pairs = [
        (short, done[BASE, LONG, seed])
        for (id, horizon, seed), short in done.items()
        if (id, horizon) == (BASE, SHORT) and (BASE, LONG, seed) in done
    ]
    if not pairs:
        return None
    return fmean((a["loss"] - b["loss"]) / math.log(b["seconds"] / a["seconds"]) for a, b in pairs)


def differences(done: Runs, horizon: str, per_e: float) -> dict[str, list[float]]:
    """Each technique's differences of log perplexity to the base, a seed each, at equal bills by ``slope``."""
    found: dict[str, list[float]] = defaultdict(list)
    for (id, at, seed), trial in sorted(done.items()):
        base = done.get((BASE, horizon, seed))
        if at == horizon and id != BASE and base is not None:
            longer = math.log(trial["seconds"] / base["seconds"])
            found[id].append(trial["loss"] - base["loss"] + per_e * longer)
    return found


def deviation(found: dict[str, list[float]]) -> float | None:
    """Standard deviation of one difference by luck of the seed, pooled over what was tried on several."""
    several = [values for values in found.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return None
    return math.sqrt(sum(variance(values) * (len(values) - 1) for values in several) / freedom)


def ratio(done: Runs, id: str, horizon: str, key: str) -> float:
    """Mean log of a technique's figure over the base's, over the seeds that both have."""
    pairs = [
        (trial, done[BASE, horizon, seed])
        for (name, at, seed), trial in done.items()
        if (name, at) == (id, horizon) and (BASE, horizon, seed) in done
    ]
    return fmean(math.log(trial[key] / base[key]) for trial, base in pairs)


def fronts() -> dict[str, tuple[str, str]]:
    """The two lines, ``effect`` and ``price``, of every technique's front matter; what is unknown is left out."""
    done = runs()
    parts: dict[str, list[str]] = {id: [] for id in genomes() if id != BASE}
    prices = dict.fromkeys(parts, "null")
    per_e = slope(done)
    for horizon in (SHORT, LONG):
        found = differences(done, horizon, per_e or 0.0)
        luck = deviation(found)
        if per_e is None or luck is None:
            lacks = "the base at both horizons" if per_e is None else "any technique on two seeds"
            print(f"Nothing is written for {horizon}: there is no trial yet of {lacks}.")
            continue
        for id, values in found.items():
            mean, sd = fmean(values), luck / math.sqrt(len(values))
            mfu = ratio(done, id, horizon, "mfu")
            parts[id].append(f"{horizon}: {{mean: {mean:z.3f}, sd: {sd:.3f}, mfu: {mfu:z.3f}}}")
            if horizon == SHORT:
                prices[id] = f"{math.exp(-ratio(done, id, horizon, 'tokens_per_second')):.2f}"
    return {id: (f"effect: {{{', '.join(part)}}}", f"price: {prices[id]}") for id, part in parts.items()}


def main(check: bool) -> int:
    """The number of files that said otherwise."""
    stale = 0
    for id, (effect, price) in fronts().items():
        path = FOLDER / f"{id}.md"
        old = path.read_text(encoding="utf-8")
        new = re.sub(r"^effect: .*$", effect, old, count=1, flags=re.MULTILINE)
        new = re.sub(r"^price: .*$", price, new, count=1, flags=re.MULTILINE)
        stale += new != old
        print(f"{id:24} {effect}, {price}")
        if not check and new != old:
            path.write_text(new, encoding="utf-8")
    return stale


if __name__ == "__main__":
    differ = main(check="--check" in sys.argv[1:])
    print(f"{differ} files {'say otherwise' if '--check' in sys.argv else 'were changed'}.")
    sys.exit(bool(differ) and "--check" in sys.argv)
