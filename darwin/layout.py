"""Layout: move definitions of a script to a file of their own, so that what it computes stays the same.

The move is made by darwin, not by an agent: whole top-level definitions, with the imports of the file they come from.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from darwin.errors import UsageError

_FORM = re.compile(
    r"(?P<names>\w+(?:\s*,\s*\w+)*)\s+from\s+(?P<source>[\w/]+\.py)\s+to\s+(?P<target>[a-z]\w*\.py)"
)


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Move:
    """Top-level classes and functions that go from one file to another, new one; what of them
    a script has, with what they need."""

    names: tuple[str, ...]
    source: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Move:
        """Read ``MLP, Block from model.py to blocks.py``. Raises UsageError."""
        found = _FORM.fullmatch(text.strip())
        if found is None or found["source"] == found["target"]:
            raise UsageError(f'Layout "{text}" cannot be read. Write: MLP, Block from model.py to blocks.py')
        names = tuple(dict.fromkeys(re.split(r"\s*,\s*", found["names"])))
        return cls(names, found["source"], found["target"])

    def __str__(self) -> str:
        return f"{', '.join(self.names)} from {self.source} to {self.target}"

    def applied(self, files: Mapping[str, str]) -> dict[str, str]:
        """The files after the move. Raises UsageError where it cannot be made without changing what is computed."""
        if self.target in files:
            raise UsageError(f"{self.target} is there already.")
        source = files.get(self.source)
        if source is None:
            raise UsageError(f"There is no {self.source} to move anything from.")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise UsageError(f"{self.source} is not Python that can be read.") from None
        moved = _definitions(tree, self.names, self.source)
        here = replace(self, names=tuple(node.name for node in moved))
        lines = source.splitlines(keepends=True)
        spans = [_with_comments(_span(node), lines) for node in moved]
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        header = _as_they_stand(imports, tree, lines)
        parts = ["".join(lines[start:stop]).strip("\n") for start, stop in spans]
        doc = f'"""Moved here from {self.source}: {", ".join(here.names)}."""'
        new = "\n\n\n".join([f"{doc}\n\n{header.strip()}", *parts]) + "\n"
        return {**files, self.source: here._rest(lines, imports, spans), self.target: new}

    def _rest(
        self, lines: list[str], imports: list[ast.Import | ast.ImportFrom], spans: list[tuple[int, int]]
    ) -> str:
        """The source without what was moved, which it imports after its own imports."""
        after = max((_span(node)[1] for node in imports), default=0)
        module = self.target.removesuffix(".py")
        gone = {number for start, stop in spans for number in range(start, stop)}
        kept = []
        for number, line in enumerate(lines):
            if number == after:
                kept.append(f"\nfrom {module} import {', '.join(self.names)}\n")
            if number not in gone:
                kept.append(line)
        return re.sub(r"\n{4,}", "\n\n\n", "".join(kept))


def _definitions(tree: ast.Module, names: tuple[str, ...], source: str) -> list[Definition]:
    """The definitions of those names that there are, with all that they need, in the file's order.

    Raises UsageError where there is none of them, or two of one, or where they need what is no definition.
    """
    every = [node for node in tree.body if isinstance(node, Definition)]
    known = [node.name for node in every]
    wanted = {name for name in names if name in known}
    if not wanted:
        raise UsageError(f"{source} has no class or function {' or '.join(names)} at its top level.")
    settings = _bound(
        node for node in tree.body if not isinstance(node, Definition | ast.Import | ast.ImportFrom)
    )
    while True:
        moved = [node for node in every if node.name in wanted]
        used = _used(moved)
        if stuck := sorted(used & settings) or [name for name in wanted if known.count(name) > 1]:
            raise UsageError(f"{', '.join(sorted(wanted))} cannot move: {stuck[0]} stays in {source}.")
        if not used & set(known) - wanted:
            return moved
        wanted |= used & set(known)


def _used(nodes: Iterable[ast.stmt]) -> set[str]:
    """Names that statements mention."""
    inner = [n for node in nodes for n in ast.walk(node)]
    found = {n.id for n in inner if isinstance(n, ast.Name)}
    return found | {name for n in inner if isinstance(n, ast.Global) for name in n.names}


def _span(node: ast.stmt) -> tuple[int, int]:
    """First line and the line after the last, from 0; decorators belong to a definition."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first - 1, node.end_lineno or node.lineno


def _as_they_stand(imports: Sequence[ast.stmt], tree: ast.Module, lines: list[str]) -> str:
    """The imports, with the blank lines between them where nothing else stands there."""
    spans = [_span(node) for node in imports]
    if spans:
        first, last = spans[0][0], spans[-1][1]
        within = [node for node in tree.body if first <= node.lineno - 1 < last]
        if len(within) == len(imports):
            return "".join(lines[first:last])
    return "".join("".join(lines[start:stop]) for start, stop in spans)


def _with_comments(span: tuple[int, int], lines: list[str]) -> tuple[int, int]:
    """The lines of a definition with the comments that stand right above it."""
    start, stop = span
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return start, stop


def _bound(nodes: Iterable[ast.stmt]) -> set[str]:
    """Names that statements bind."""
    inner = [n for node in nodes for n in ast.walk(node)]
    return {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
