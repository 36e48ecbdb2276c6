"""The numeric settings of a training script: find them, change one of them.

A setting is a line ``name = number`` at the top level of a Python file, the name bound nowhere else there.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from darwin.agents.errors import AgentError

Number = int | float


def numeric(source: str) -> dict[str, Number]:
    """Name and value of each numeric setting, in the file's order; empty if the file does not parse."""
    return {name: value for name, (value, _) in _found(source).items()}


def numbers(files: Mapping[str, str]) -> dict[str, tuple[str, Number]]:
    """File and value of each numeric setting; a name that two files share is left alone.

    But for a file of nothing but settings (nanoGPT's config/*.py): it has the last word on what it names.
    """
    found: dict[str, tuple[str, Number]] = {}
    shared: set[str] = set()
    for file in sorted((f for f in files if f.endswith(".py")), key=lambda f: (_is_config(files[f]), f)):
        last_word = _is_config(files[file])
        for name, value in numeric(files[file]).items():
            shared = shared - {name} if last_word else shared | ({name} & found.keys())
            found[name] = (file, value)
    return {name: place for name, place in found.items() if name not in shared}


def _is_config(source: str) -> bool:
    """Whether a file holds nothing but assignments of literals."""
    tree = _parsed(source)
    if tree is None:
        return False
    body = tree.body
    assigned = [
        s for s in body if isinstance(s, ast.Assign) and isinstance(s.value, ast.Constant | ast.UnaryOp)
    ]
    rest = [s for s in body if not isinstance(s, ast.Assign)]
    return bool(assigned) and all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in rest)


def change(source: str, name: str, value: Number) -> str:
    """``source`` with that setting at ``value``; its comments and everything else stay as they are.

    Raises AgentError if there is no such setting.
    """
    found = _found(source)
    if name not in found:
        known = ", ".join(found) or "none"
        raise AgentError(f'There is no numeric setting "{name}" in this file; there are {known}.')
    _, node = found[name]
    lines = source.split("\n")
    line = lines[node.lineno - 1].encode()  # ast counts columns in bytes
    start, end = node.col_offset, node.end_col_offset
    lines[node.lineno - 1] = (line[:start] + written(value).encode() + line[end:]).decode()
    changed = "\n".join(lines)
    if numeric(changed).get(name) != value:
        raise AgentError(f'The line of the setting "{name}" cannot be changed safely. Nothing was changed.')
    return changed


def written(value: Number) -> str:
    """A number as a person would write it in a script: 12, 0.0014, 2e-05."""
    return repr(value)


@lru_cache(maxsize=8)  # a script's files are asked about again and again; nobody here changes a tree
def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=64)
def _found(source: str) -> dict[str, tuple[Number, ast.expr]]:
    tree = _parsed(source)
    if tree is None:
        return {}
    bound = Counter(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    found: dict[str, tuple[Number, ast.expr]] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if bound[name] == 1:
                number = _number(value)
                if number is not None and value.lineno == value.end_lineno:
                    found[name] = (number, value)
    return found


def _number(node: ast.expr) -> Number | None:
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if (
            not isinstance(number, bool)
        ):
            return -number
    return None
