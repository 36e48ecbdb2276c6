"""A script split at its definitions, to be rewritten piece by piece (the DARWIN paper's way)."""

from __future__ import annotations

import ast
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darwin.agents.errors import EditError

SHARE = 0.25  # of the definitions that are rewritten at a time; at least one, at most MOST
MOST = 3


@dataclass(frozen=True)
class Chunk:
    """One top-level function or class: ``start`` and ``end`` count lines from 0, the end left out."""

    file: str
    name: str
    start: int
    end: int
    text: str


def split(files: Mapping[str, str]) -> list[Chunk]:
    """The definitions of all Python files that parse, in order."""
    found = []
    for file in sorted(files):
        try:
            body = ast.parse(files[file]).body if file.endswith(".py") else []
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        lines = files[file].splitlines(keepends=True)
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
                end = node.end_lineno or node.lineno
                found.append(Chunk(file, node.name, start, end, "".join(lines[start:end])))
    return found


def chosen(chunks: Sequence[Chunk], seed: object) -> list[Chunk]:
    """Those to be rewritten, each with a chance of ``SHARE``, in order; the seed decides."""
    chance = random.Random(f"chunks {seed}")
    drawn = [chunk for chunk in chunks if chance.random() < SHARE] or (
        [chance.choice(chunks)] if chunks else []
    )
    keep = set(chance.sample(range(len(drawn)), min(MOST, len(drawn))))
    return [chunk for i, chunk in enumerate(drawn) if i in keep]


def replaced(files: Mapping[str, str], chunk: Chunk, new: str) -> dict[str, str]:
    """``files`` with a definition's text replaced. Raises EditError unless it defines that name and imports nothing."""
    try:
        body = ast.parse(new).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise EditError(f"{chunk.name} does not parse: {error}.", 1, chunk.file) from None
    if any(isinstance(node, ast.Import | ast.ImportFrom) for one in body for node in ast.walk(one)):
        raise EditError(f"{chunk.name}: imports are frozen, and it has one.", 1, chunk.file)
    defined = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    if len(defined) != len(body) or chunk.name not in [node.name for node in defined]:
        raise EditError(
            f"Expected the definition of {chunk.name} and nothing but definitions.", 1, chunk.file
        )
    now = next((c for c in split(files) if (c.file, c.name) == (chunk.file, chunk.name)), None)
    if now is None:
        raise EditError(f"{chunk.file} has no {chunk.name} any more.", 1, chunk.file)
    lines = files[chunk.file].splitlines(keepends=True)
    text = "".join([*lines[: now.start], new.strip("\n") + "\n", *lines[now.end :]])
    return {**files, chunk.file: text}


def outline(files: Mapping[str, str], chunk: Chunk) -> str:
    """What a definition stands among: its file's imports, and the first lines of the definitions before it."""
    parts = []
    for node in ast.parse(files[chunk.file]).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            parts.append(ast.unparse(node))
    for other in split(files):
        if (other.file, other.name) == (chunk.file, chunk.name):
            break
        node = ast.parse(other.text).body[0]
        doc = ast.get_docstring(node) if isinstance(node, ast.ClassDef | ast.FunctionDef) else None
        first = next(
            line for line in other.text.splitlines() if line.startswith(("def ", "class ", "async "))
        )
        parts.append(f"{first}  # {other.file}" + (f": {doc.splitlines()[0]}" if doc else ""))
    return "\n".join(parts)
