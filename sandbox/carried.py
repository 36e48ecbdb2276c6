"""Whether a script carries what it must not: text of the held-out splits, or data by the hundred kilobytes.

Only the script is read, nothing of it is run. Found are runs of ``RUN`` tokens in the files themselves, in their
strings, plain, turned round or in a base of letters (hexadecimal to base 85), and in rows of numbers. Compressed or
cut into pieces it is not found so; then the test split tells, whose text would have to be carried too.
"""

from __future__ import annotations

import ast
import base64
import binascii
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from darwin.sandbox.dataset import Dataset, Tokens
from darwin.sandbox.grams import grams

RUN = 32
"""Tokens in a row that no script has by chance: of characters, half a line."""

DISTINCT = 8
"""Different tokens in such a run at the least: a row of dashes is nobody's text."""

_ALONE = threading.Lock()
"""Trials run in threads: Python 3.11 cannot parse in two at once (a SystemError), and warnings are the process's."""

_FOREIGN = 0xFFFF  # a character that the data do not have: it belongs to no run
_CHUNK = 1 << 22
_DECODERS: tuple[Callable[[bytes], bytes], ...] = (
    binascii.unhexlify, base64.b32decode, base64.b64decode, base64.b85decode, base64.a85decode,
)  # fmt: skip


def carries(files: Mapping[str, bytes], dataset: Dataset, most: int) -> str | None:
    """What is carried, in one sentence, or None. A script of more than ``most`` bytes carries too much of anything."""
    size = sum(len(content) for content in files.values())
    if size > most:
        return f"Its files have {size} bytes, more than the {most} allowed: a script is code, not data."
    with _ALONE:
        return _known_text(files, dataset)


def _known_text(files: Mapping[str, bytes], dataset: Dataset) -> str | None:
    chars = dataset.meta.get("chars")
    rows = [(name, tokens) for name, content in files.items() for tokens in _sequences(content, chars)]
    for split in ("val", "test"):
        known = np.unique(grams(dataset.splits[split], RUN))
        for name, tokens in rows:
            found = _among(grams(tokens, RUN), known).nonzero()[0]
            runs = [tokens[at : at + RUN] for at in found[::RUN]]
            if any(
                len(set(run.tolist())) >= DISTINCT and not _is_in(run, dataset.splits["train"])
                for run in runs
            ):
                return f"{name} carries text of the {split} split: {RUN} tokens in a row and more."
    return None


def _among(found: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of the numbers are among the known ones, which are sorted (``np.isin`` sorts them anew)."""
    if not len(known):
        return np.zeros(len(found), dtype=bool)
    places = np.searchsorted(known, found).clip(max=len(known) - 1)
    return np.asarray(known[places] == found)


def _sequences(content: bytes, chars: object) -> Iterator[Tokens]:
    """Every run of tokens that a file may stand for, each at least ``RUN`` long."""
    text = content.decode(errors="replace")
    ids = {char: number for number, char in enumerate(chars)} if isinstance(chars, list) else {}
    texts, rows = [text], list[list[int]]()
    for node in _nodes(text):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            texts += _readings(node.value)
        elif isinstance(node, ast.List | ast.Tuple | ast.Set) and len(node.elts) >= RUN:
            rows.append([e.value for e in node.elts if isinstance(e, ast.Constant) and type(e.value) is int])
    rows += [[ids.get(char, _FOREIGN) for char in one] for one in texts if ids]
    for row in rows:
        if len(row) >= RUN:
            tokens = np.array([t if 0 <= t < _FOREIGN else _FOREIGN for t in row], dtype=np.uint16)
            yield tokens
            yield tokens[::-1]


def _nodes(text: str) -> list[ast.AST]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in a script
            return list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _readings(value: str | bytes) -> Iterator[str]:
    """A string as it is, and what it may be written in another base for."""
    if len(value) < RUN:
        return
    data = value.encode(errors="replace") if isinstance(value, str) else value
    yield data.decode(errors="replace")
    for decode in _DECODERS:
        try:
            yield decode(data).decode(errors="replace")
        except (ValueError, binascii.Error):
            continue


def _is_in(run: Tokens, tokens: Tokens) -> bool:
    """Whether the tokens hold this run."""
    needle = run.astype("<u2").tobytes()
    return any(
        needle in tokens[start : start + _CHUNK + RUN].tobytes() for start in range(0, len(tokens), _CHUNK)
    )
