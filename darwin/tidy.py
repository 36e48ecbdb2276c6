"""Tidying: what a workspace takes on disk, git packed by a threshold, and artifacts kept by a policy."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from darwin.events import step
from darwin.evolution import Evolution
from darwin.memory import Memory
from darwin.memory.records import Individual
from darwin.memory.store import DAMAGED

LOOSE, LOOSE_AT_THE_END = 3000, 1000
"""Loose git objects from which they are packed, while a run goes on and when it ends."""

MOST_ARTIFACTS = 64 << 20
"""Bytes of learning curves and logs from which curves are thinned out; transcripts of models are never touched."""

TRANSCRIPTS = "transcripts"


@step
def tidy(evolution: Evolution, at_the_end: bool = False) -> None:
    """Pack git and thin out artifacts where they have grown. Between two other steps: nothing is half written."""
    workspace = evolution.workspace
    workspace.lineage.pack(LOOSE_AT_THE_END if at_the_end else LOOSE)
    thin_out(workspace.artifacts, workspace.memory)


def kept(memory: Memory) -> set[str]:
    """Whose learning curves are kept: the base, the population, what was judged or decided on, and who is on the front
    of perplexity and MFU."""
    run, people = memory.run, memory.individuals.values()
    names = {memory.resolve("base").id, run.incumbent, *run.population.values(), *memory.decisions}
    return names | {i.id for i in people if i.verdict is not None} | {i.id for i in front(people)}


def front(people: Iterable[Individual]) -> list[Individual]:
    """Those whom nobody beats in both validation loss and MFU."""
    found: list[Individual] = []
    for one in sorted((i for i in people if i.loss is not None), key=lambda i: i.rank):
        if not found or (one.mfu or 0.0) > (found[-1].mfu or 0.0):
            found.append(one)
    return found


def thin_out(artifacts: Path, memory: Memory) -> int:
    """Where artifacts have grown, remove the curves of those nobody looks at any more; how many. Logs stay."""
    if sum(_size(path) for path in _files(artifacts)) <= MOST_ARTIFACTS:
        return 0
    names, removed = kept(memory), 0
    for path in _files(artifacts):
        if path.name.startswith("curve-") and path.parent.name not in names:
            path.unlink()
            removed += 1
    return removed


def sizes(folder: Path) -> dict[str, int]:
    """Bytes on disk by what they are for."""
    artifacts = folder / "artifacts"
    return {
        "git": sum(map(_size, _files(folder / ".git"))),
        "memory": sum(map(_size, _files(folder / "memory"))),
        "artifacts": sum(map(_size, _files(artifacts))),
        "transcripts": sum(map(_size, _files(artifacts / TRANSCRIPTS))),
        "run.log": sum(map(_size, folder.glob("run.log*"))),
        DAMAGED: sum(map(_size, _files(folder / DAMAGED))),
    }


def _files(folder: Path) -> list[Path]:
    """The files below a folder, without the transcripts below it."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != TRANSCRIPTS]
        found += [Path(where) / name for name in names]
    return found


def _size(path: Path) -> int:
    """Bytes that a file takes on disk; 0 for one that has just gone."""
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0
