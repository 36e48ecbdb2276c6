"""How equal the training time was: the bills of every individual in a workspace, after at most one correction.

    .venv/bin/python bench/equal_time.py evolution

Reads records only. Bar: over 20 different genomes, bills within 5 % of the budget.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean, stdev


def main(workspace: str) -> None:
    records = [
        json.loads(p.read_text()) for p in sorted(Path(workspace, "memory/individuals").glob("*.json"))
    ]
    run = json.loads(Path(workspace, "memory/run.json").read_text())
    budget = float(run["budget"].removesuffix("s"))
    first, trees, over = [], set(), []
    for record in records:
        trials = [t for t in record["trials"] if t["budget"] == run["budget"] and t["slowdown"]]
        if not trials or record["tree"] in trees:
            continue
        trees.add(record["tree"])
        ratio = trials[0]["seconds"] / budget - 1
        first.append(ratio)
        if abs(ratio) > 0.05:
            over.append(record["id"])
        rate = trials[0]["tokens"] / run["tokens"]
        print(f"{record['id']:16} {trials[0]['tokens']:>8,} tokens ({rate:5.2f} x base)  bill {ratio:+.1%}")
    again = [
        t["seconds"] / budget - 1
        for r in records
        for t in r["trials"][1:]
        if t["budget"] == run["budget"] and t["slowdown"]
    ]
    if len(first) < 2:
        sys.exit("Fewer than two genomes have been timed yet.")
    print(
        f"{len(first)} genomes: {fmean(first):+.1%} on average, sd {stdev(first):.1%}, worst {max(first, key=abs):+.1%}"
    )
    print(f"beyond 5 %: {len(over)} {over}")
    if len(again) > 1:
        print(f"{len(again)} further seeds at the stored tokens: {fmean(again):+.1%}, sd {stdev(again):.1%}")


if __name__ == "__main__":
    main(sys.argv[1])
