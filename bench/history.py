"""What a long history costs: the loop's own CPU a child, the commands that read, the start of a run, the disk.

    .venv/bin/python bench/history.py [INDIVIDUALS ...]

The real loop over the laboratory of the tests, whose trials cost nothing, in a workspace that is filled up with records
of random techniques and losses. Three times two generations of six children are timed, verdicts, ablation and closing
included: each size in a process of its own, which has modelled the history that it found once, as a start does (and
shows), and the sizes in turn. Then the commands, each as a process of its own, from bytecode, as once installed.
Bars, at 1,000 individuals: status and log 1 s, start 3 s, a child 1.5 x what it costs at 10, 20 KB on disk each; the
exit code is 1 where one is missed.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))
from darwin import lineage, tidy
from darwin.agents.knowledge import techniques
from darwin.evolution import Evolution
from darwin.lineage import individual_ref
from darwin.loop import evolve
from darwin.memory.records import Individual, Status, Trial
from darwin.screen import Screen
from tests.evolve.laboratory import data_set, start

GENERATIONS = 2
DARWIN = Path(sys.executable).with_name("darwin")
COMMANDS = {
    "status": ["status"],
    "log": ["log"],
    "show": ["show", "champion"],
    "report": ["report"],
    "start": ["evolve", "--sandbox", "process"],
}
REPEATS, LONG = 3, 10_000
"""How often a command is timed, and the individuals from which it is timed once."""
CHILD, TIMES = "ms of CPU a child", ", s (CPU)"
BARS = {"KB each": 20.0, f"status{TIMES}": 1.0, f"log{TIMES}": 1.0, f"start{TIMES}": 3.0}
"""At ``LARGE`` individuals; wall seconds."""
GROWTH, SMALL, LARGE = 1.5, 10, 1000
"""How many times as much a child may cost at ``LARGE`` as at ``SMALL``."""


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


def seconds(command: list[str], folder: Path, repeats: int) -> str:
    """Least wall seconds of a command, of so many times, and the least CPU seconds in brackets."""
    installed = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found = []
    for _ in range(repeats):
        began, before = time.perf_counter(), cpu()
        subprocess.run(
            [DARWIN, *command, "-C", "w"], cwd=folder, env=installed, check=True, capture_output=True
        )
        found.append((time.perf_counter() - began, cpu() - before))
    walls, cpus = zip(*found, strict=True)
    return f"{min(walls):.2f} ({min(cpus):.2f})"


def child(evolution: Evolution) -> tuple[float, int]:
    """CPU seconds of some generations with all that belongs to a run, and how many children they bore."""
    before, births = cpu(), evolution.run.settled
    evolve(evolution, evolution.run.generation + GENERATIONS)
    return cpu() - before, evolution.run.settled - births


def measure(count: int, pipe: Connection) -> None:
    """What everything costs with so many individuals: each time it is asked, the children; then the rest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DARWIN_CACHE"] = name
        quiet = Screen(Console(quiet=True))
        evolution = start(folder / "w", data_set(folder), quiet, agents="rules:6", budget="20s")
        evolve(evolution, 1)
        with patch("os.fsync"):  # what is filled in need not outlive a power cut
            fill(evolution, count)
        lineage.GRACE = "now"  # else what the filling left would be counted
        evolution.workspace.lineage.pack(0)
        evolution.memory.project_derived()
        gc.freeze()  # as darwin evolve does, which has modelled its history by then
        pipe.send(None)
        while pipe.recv():
            pipe.send(child(evolution))
        evolution.workspace.lineage.pack(0)
        taken = tidy.sizes(folder / "w")
        each = (taken["git"] + taken["memory"]) / 1000 / len(evolution.memory.individuals)
        times = REPEATS if count < LONG else 1
        commands = COMMANDS | {"start": [*COMMANDS["start"], "-g", str(evolution.run.generation)]}
        found = {f"{word}{TIMES}": seconds(command, folder, times) for word, command in commands.items()}
        pipe.send({"KB each": f"{each:.1f}"} | found)


def missed(found: dict[int, dict[str, str]]) -> list[str]:
    """The bars that the figures miss, as far as they were measured."""

    def figure(count: int, name: str) -> float:
        return float(found[count][name].split()[0])

    if LARGE not in found:
        return []
    over = [
        f"{name} {figure(LARGE, name)}, bar {bar}" for name, bar in BARS.items() if figure(LARGE, name) > bar
    ]
    if SMALL in found and (times := figure(LARGE, CHILD) / figure(SMALL, CHILD)) > GROWTH:
        over.append(f"a child costs {times:.2f} times what it costs at {SMALL}, bar {GROWTH}")
    return over


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:]] or [10, 100, 1000]
    pipes, children = {}, {count: [0.0, 0] for count in counts}
    for count in counts:
        pipes[count], theirs = Pipe()
        Process(target=measure, args=(count, theirs)).start()
        pipes[count].recv()
    for _ in range(REPEATS):  # in turn, so that a busy machine is busy for all of them
        for count, pipe in pipes.items():
            pipe.send(True)
            children[count] = [sum(pair) for pair in zip(children[count], pipe.recv(), strict=True)]
    found = {}
    for count, pipe in pipes.items():
        pipe.send(False)
        spent, born = children[count]
        found[count] = {CHILD: f"{1000 * spent / born:.0f}"} | pipe.recv()
    print(f"| individuals | {' | '.join(found[counts[0]])} |")
    print("| --- " * (1 + len(found[counts[0]])) + "|")
    for count, numbers in found.items():
        print(f"| {count:,} | {' | '.join(numbers.values())} |")
    over = missed(found)
    if LARGE in found:
        print(f"Bars at {LARGE:,} individuals: {'; '.join(over) or 'all kept'}.")
    sys.exit(bool(over))
