"""Three-way merges of genomes: what a crossover is, and how an idea is taken out again."""

from __future__ import annotations

import ast
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from darwin.memory.records import Individual

Files = dict[str, bytes]


def merge(ours: Mapping[str, bytes], base: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> Files | None:
    """Our files with every change that leads from ``base`` to theirs; None where git finds a conflict, or where what
    comes out is no Python any more. Files that only one side has are kept."""
    merged = dict(ours)
    for path in {**base, **theirs}:
        before, after = base.get(path), theirs.get(path)
        if before == after or after == ours.get(path):
            continue
        if ours.get(path) == before and after is not None:
            merged[path] = after
        elif before is None or after is None or path not in ours:
            return None
        else:
            found, clean = _merge_file(ours[path], before, after)
            if not clean:
                return None
            merged[path] = found
        if path.endswith(".py") and not _parses(merged[path]):
            return None
    return merged


def collisions(
    ours: Mapping[str, bytes], base: Mapping[str, bytes], theirs: Mapping[str, bytes]
) -> Files | None:
    """Our files with theirs merged in and git's conflict markers where both changed the same lines.

    None where no lines collide: each file merges, or is gone on one side.
    """
    marked, found = dict(ours), False
    for path in {**base, **theirs}:
        before, after = base.get(path), theirs.get(path)
        if before == after or after == ours.get(path):
            continue
        if before is None or after is None or path not in ours:
            return None
        marked[path], clean = _merge_file(ours[path], before, after)
        found = found or not clean
    return marked if found else None


def _merge_file(ours: bytes, base: bytes, theirs: bytes) -> tuple[bytes, bool]:
    """(the merged text, with conflict markers if need be, whether it needs none)."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("ours", ours), ("base", base), ("theirs", theirs)):
            Path(folder, name).write_bytes(data)
        command = ["git", "merge-file", "-p", "-q", "ours", "base", "theirs"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return done.stdout, done.returncode == 0


def _parses(source: bytes) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def ancestors(individual: Individual, individuals: Mapping[str, Individual]) -> dict[str, Individual]:
    """An individual and all it descends from, by id, the youngest first; through both parents of a crossover."""
    found: dict[str, Individual] = {}
    todo = [individual]
    while todo:
        one = todo.pop()
        if one.id not in found:
            found[one.id] = one
            todo += [individuals[parent] for parent in one.parents]
    return {i.id: i for i in sorted(found.values(), key=lambda i: (-i.ordinal, i.id))}


def common_ancestor(one: Individual, two: Individual, individuals: Mapping[str, Individual]) -> Individual:
    """The youngest individual that both descend from (or are)."""
    mine, theirs = ancestors(one, individuals), ancestors(two, individuals)
    return next(i for id, i in mine.items() if id in theirs)
