"""What was granted, as births see it: scripts with their new files, and who made use of what."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from darwin.genome import NEW_FILE, extended
from darwin.layout import Move
from darwin.lineage import Lineage
from darwin.memory import Memory
from darwin.memory.records import Individual, Run
from darwin.memory.requests import Kind, Request, State, granted
from darwin.sandbox.budget import Budget


def script(memory: Memory, lineage: Lineage, individual: Individual, before: int) -> dict[str, bytes]:
    """The genome of an individual as authors of births from ordinal ``before`` get it: with the files granted since."""
    names = [request.given for request in granted(memory.requests, Kind.FILE, before)]
    return extended(lineage.files(individual.commit), names)


def new_files(requests: Mapping[str, Request]) -> set[str]:
    """Names of the files that people have allowed beside those that the evolution began with."""
    moved = {Move.parse(r.given).target for r in granted(requests, Kind.LAYOUT)}
    return moved | {r.given for r in granted(requests, Kind.FILE)}


def room(run: Run) -> float:
    """How many times as large the budget is as at the start."""
    amounts = [Budget.parse(text).amount for text in (run.budget, *run.budgets[:1])]
    return amounts[0] / amounts[-1]


def used(memory: Memory, lineage: Lineage, target: Individual, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Ids of the granted requests that a child makes use of, in what it changes of the target's script."""
    done = {r.id: r for r in memory.requests.values() if r.state is State.DONE}
    if not done:
        return ()
    before = lineage.files(target.commit)
    return tuple(id for id, request in done.items() if _uses(request, before, files, memory.run))


def _uses(request: Request, before: Mapping[str, bytes], files: Mapping[str, bytes], run: Run) -> bool:
    match request.kind:
        case Kind.BUDGET:
            return request.given == run.budget
        case Kind.FILE:
            return files.get(request.given, NEW_FILE) not in (NEW_FILE, before.get(request.given))
        case Kind.LAYOUT:
            moved = Move.parse(request.given).target
            return moved in before and before[moved] != files.get(moved)
        case Kind.PACKAGE:
            return module_of(request) in _imports(files) - _imports(before)
        case Kind.DATASET:
            return _names(files, f"{request.given}.bin") > _names(before, f"{request.given}.bin")


def module_of(request: Request) -> str:
    """What a script imports of a package: what was asked for is a module's name wherever an import was missing."""
    return request.wanted.partition("==")[0].lower().replace("-", "_")


def _imports(files: Mapping[str, bytes]) -> set[str]:
    found = set()
    for path, data in files.items():
        try:
            nodes = list(ast.walk(ast.parse(data))) if path.endswith(".py") else []
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in nodes:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {name.partition(".")[0].lower() for name in names}
    return found


def _names(files: Mapping[str, bytes], word: str) -> int:
    return sum(data.count(word.encode()) for data in files.values())
