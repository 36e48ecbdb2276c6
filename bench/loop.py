"""The loop's own CPU seconds a child, git and records included, at 10 and at 1,000 individuals.

    .venv/bin/python bench/loop.py [INDIVIDUALS ...]

The real loop runs over the laboratory of the tests, whose trials cost nothing. To get to a thousand individuals,
records of random techniques and losses are added to its memory and git, of the size that real ones have; then two
generations of six children are timed, verdicts, ablation and closing included. Bar: 150 ms.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from darwin.agents.knowledge import techniques
from darwin.evolution import Evolution
from darwin.lineage import individual_ref
from darwin.loop import evolve
from darwin.memory.records import Individual, Status, Trial
from darwin.screen import Screen

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.evolve.laboratory import data_set, start

BAR = 0.150
GENERATIONS = 2


def cpu() -> float:
    """CPU seconds of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def fill(evolution: Evolution, count: int) -> None:
    """Add records of trained individuals until there are ``count``; none of them is any good."""
    memory, lineage, chance = evolution.memory, evolution.workspace.lineage, random.Random(1)
    files = lineage.files(evolution.base.commit)
    people = list(memory.individuals.values())
    ids = [t.id for t in techniques()]
    new = []
    for number in range(count - len(people)):
        parent = chance.choice([*people[-200:], *new[-200:]])
        own = {**files, "model.py": files["model.py"] + f"# {number}\n".encode()}
        commit, tree = lineage.commit(
            own, [parent.commit], ordinal=0, author="Ada", subject=f"Filler {number}"
        )
        seed = evolution.seeds("selection", 1)[0]
        loss = chance.uniform(3.0, 4.0)
        trial = Trial(seed=seed, split="val", budget=evolution.run.budget, tokens=1000, loss=loss, mfu=0.5)
        new.append(
            Individual(
                id=f"a{number:04d}",
                ordinal=0,
                generation=1,
                commit=commit,
                tree=tree,
                code=f"filler {number}",
                parents=(parent.id,),
                author="Ada",
                owner="Alan",
                operator="mutation",
                subject=f"Filler {number}",
                techniques=(chance.choice(ids),),
                settings={"learning_rate": (1e-3, 1e-3 * chance.uniform(0.5, 2))},
                status=Status.TRAINED,
                trials=(trial,),
                delta={"parent": loss - (parent.loss or loss)},
            )
        )
    memory.record(*new, refs={individual_ref(i.id): i.commit for i in new})


def measure(count: int) -> float:
    """CPU seconds a child with so many individuals in memory."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DARWIN_CACHE"] = folder
        evolution = start(
            Path(folder) / "w",
            data_set(Path(folder)),
            Screen(Console(quiet=True)),
            agents="rules:6",
            budget="20s",
        )
        evolve(evolution, 1)
        fill(evolution, count)
        before, births = cpu(), evolution.run.settled
        evolve(evolution, 1 + GENERATIONS)
        return (cpu() - before) / (evolution.run.settled - births)


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:]] or [10, 1000]
    found = {count: measure(count) for count in counts}
    for count, seconds in found.items():
        print(
            f"{count:,} individuals: {1000 * seconds:.0f} ms of CPU a child; the bar is {1000 * BAR:.0f} ms."
        )
    sys.exit(max(found.values()) > BAR)
