"""When two genomes are the same: equal syntax trees, whatever their layout and comments; and when nearly so."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from functools import lru_cache

_NO_CODE = "tree " + ast.dump(ast.parse(""))
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where statements have further statements."""
NEAR = 0.9
"""Share of changed lines that two rewrites have in common when they are one idea."""


def fingerprint(files: Mapping[str, str]) -> str:
    """sha256 (hex) over names and contents: Python files as syntax trees without docstrings, others as text.

    A Python file that does not parse counts as text, one without code not at all. The order of ``files`` does not
    matter.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        if (essence := _essence(name, files[name])) == _NO_CODE:
            continue
        for part in (name, essence):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


@lru_cache(maxsize=32)
def _essence(name: str, text: str) -> str:
    if not name.endswith(".py"):
        return text
    try:
        tree = ast.parse(text)
        _drop_docstrings(tree)
        return "tree " + ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "text " + text


def _drop_docstrings(node: ast.AST) -> None:
    """Take the docstrings out of a module and all in it; only what holds statements is looked into."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        match node.body:
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                node.body = rest
    for name in BLOCKS:
        for inner in getattr(node, name, ()):
            _drop_docstrings(inner)


Changes = frozenset[tuple[str, str, str]]
"""The lines that a rewrite takes out and puts in: (file, "-" or "+", line)."""


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    """What a rewrite changes.

    Lines count without their comments and spaces; a changed number is a change of its line, so that another step of
    the same setting is another idea.
    """
    found = set()
    for name in {*before, *after}:
        old, new = (set(_bare_lines(files.get(name, ""))) for files in (before, after))
        found |= {(name, "-", line) for line in old - new} | {(name, "+", line) for line in new - old}
    return frozenset(found)


def near(mine: Changes, theirs: Changes) -> bool:
    """Whether two rewrites, each of its own parent, are nearly the same idea: they share ``NEAR`` of the changed
    lines."""
    return bool(mine and theirs) and len(mine & theirs) >= NEAR * len(mine | theirs)


def _bare_lines(text: str) -> list[str]:
    bare = ("".join(line.partition("#")[0].split()) for line in text.splitlines())
    return [line for line in bare if line]
