"""The check: whether records, notes, refs and JSON files say the same, and git is sound. It changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from git.exc import GitCommandError

from darwin.lineage import Lineage, individual_ref, refs_of
from darwin.memory import Memory, MemoryFault
from darwin.memory.notes import LINES, RECORDS
from darwin.workspace import Workspace


@dataclass(frozen=True)
class Problem:
    """Something that is not as git's records say: ``kind`` is record, ref, note, file or object."""

    kind: str
    where: str
    what: str


def problems(workspace: Workspace) -> list[Problem]:
    """All that is wrong with a workspace's memory and lineage; empty where everything is sound."""
    memory, lineage = workspace.memory, workspace.lineage
    found = [*_records(memory), *_refs(memory, lineage), *_notes(memory)]
    found += [Problem("file", f"memory/{path}", what) for path, what in memory.unlike()]
    return found + _objects(lineage)


def _records(memory: Memory) -> list[Problem]:
    """Records that contradict themselves or name what there is not."""
    found = []
    for one in memory.individuals.values():
        lost = [parent for parent in one.parents if parent not in memory.individuals]
        found += [Problem("record", one.id, f"its parent {parent} has no record") for parent in lost]
        runs = Counter((t.seed, t.split, t.budget) for t in one.trials)
        found += [
            Problem("record", one.id, f"trained {n} times on seed {seed} ({split}, {budget})")
            for (seed, split, budget), n in runs.items()
            if n > 1
        ]
    if memory.begun:
        run = memory.run
        named = {*run.population.values(), run.incumbent, *([run.champion] if run.champion else [])}
        for name in sorted(named - memory.individuals.keys()):
            found.append(Problem("record", "run.json", f"names {name}, which has no record"))
    return found


def _refs(memory: Memory, lineage: Lineage) -> list[Problem]:
    """Refs against records, and each individual's commit against its record."""
    rows = lineage.repo.git.for_each_ref("--format=%(refname) %(objectname) %(tree) %(parent)").splitlines()
    actual = {row.split(" ")[0]: row.split(" ")[1:] for row in rows}
    expected = refs_of(memory) if memory.begun else {}
    found = []
    for ref, commit in expected.items():
        at = actual.get(ref, [None])[0]
        if at != commit:
            found.append(Problem("ref", ref, f"is {at[:10] if at else 'missing'}, recorded as {commit[:10]}"))
    for one in memory.individuals.values():
        commit, tree, *parents = actual.get(individual_ref(one.id), ["", ""])
        known = [memory.individuals[p].commit for p in one.parents if p in memory.individuals]
        if commit == one.commit and (tree, [p for p in parents if p]) != (one.tree, known):
            found.append(
                Problem("record", one.id, "its commit has another tree or other parents than recorded")
            )
    return found


def _notes(memory: Memory) -> list[Problem]:
    count = memory.lines()
    if count >= len(memory.individuals):
        return []
    return [Problem("note", LINES, f"has {count} readable notes for {len(memory.individuals)} individuals")]


def _objects(lineage: Lineage) -> list[Problem]:
    """What ``git fsck`` objects to."""
    status, out, err = lineage.repo.git.fsck(
        "--strict", "--no-dangling", "--no-progress", with_extended_output=True, with_exceptions=False
    )
    lines = [line for line in f"{out}\n{err}".splitlines() if line.strip() and not line.startswith("notice")]
    if not status and not lines:
        return []
    return [Problem("object", "git fsck", line) for line in lines[:20]] or [
        Problem("object", "git fsck", f"ended with {status}")
    ]


def why_unreadable(error: MemoryFault | GitCommandError) -> Problem:
    """A workspace that cannot even be opened, as a problem."""
    return Problem("record", RECORDS, str(error).strip().splitlines()[-1])
