"""When two genomes are the same: equal syntax trees, whatever their layout and comments."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from functools import lru_cache


def fingerprint(files: Mapping[str, str]) -> str:
    """sha256 (hex) over names and contents: Python files as syntax trees without docstrings, others as text.

    A Python file that does not parse counts as text. The order of ``files`` does not matter.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        for part in (name, _essence(name, files[name])):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


@lru_cache(maxsize=32)
def _essence(name: str, text: str) -> str:
    if not name.endswith(".py"):
        return text
    try:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                _drop_docstring(node)
        return "tree " + ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "text " + text


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    match node.body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            node.body = rest
