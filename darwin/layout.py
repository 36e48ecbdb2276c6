"""Layout: move definitions of a script to a file of their own, so that what it computes stays the same.

The move is made by darwin, not by an agent: whole top-level definitions, with the imports of the file they come from.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from darwin.errors import UsageError

_FORM = re.compile(
    r"(?P<names>\w+(?:\s*,\s*\w+)*)\s+from\s+(?P<source>[\w/]+\.py)\s+to\s+(?P<target>[a-z]\w*\.py)"
)


@dataclass(frozen=True)
class Move:
    """Top-level classes and functions that go from one file to another, new one."""

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
        self._refuse_entangled(tree, moved)
        lines = source.splitlines(keepends=True)
        spans = [_span(node) for node in moved]
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        header = "".join("".join(lines[slice(*_span(node))]) for node in imports)
        parts = ["".join(lines[start:stop]).strip("\n") for start, stop in spans]
        doc = f'"""Moved here from {self.source}: {", ".join(self.names)}."""'
        new = "\n\n\n".join([f"{doc}\n\n{header.strip()}", *parts]) + "\n"
        return {**files, self.source: self._rest(lines, imports, spans), self.target: new}

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
                kept.append(f"from {module} import {', '.join(self.names)}\n")
            if number not in gone:
                kept.append(line)
        return re.sub(r"\n{4,}", "\n\n\n", "".join(kept))

    def _refuse_entangled(self, tree: ast.Module, moved: list[ast.stmt]) -> None:
        """Raise UsageError where what moves needs something that stays behind."""
        imported = {
            (alias.asname or alias.name).partition(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        staying = _bound(node for node in tree.body if node not in moved) - imported
        used = {n.id for node in moved for n in ast.walk(node) if isinstance(n, ast.Name)}
        needed = sorted(used & staying)
        if needed:
            raise UsageError(
                f"{', '.join(self.names)} cannot move alone: {', '.join(needed)} would stay in {self.source}."
            )


def _definitions(tree: ast.Module, names: tuple[str, ...], source: str) -> list[ast.stmt]:
    """The definitions of those names, in the file's order."""
    found: list[ast.stmt] = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name in names
    ]
    known = [getattr(node, "name", "") for node in found]
    missing = [name for name in names if known.count(name) != 1]
    if missing:
        raise UsageError(
            f"{source} has no class or function {missing[0]} at its top level, or more than one."
        )
    return found


def _span(node: ast.stmt) -> tuple[int, int]:
    """First line and the line after the last, from 0; decorators belong to a definition."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first - 1, node.end_lineno or node.lineno


def _bound(nodes: object) -> set[str]:
    """Names that top-level statements bind."""
    found = set()
    for node in nodes:  # type: ignore[attr-defined]
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        else:
            found |= {
                n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
    return found
