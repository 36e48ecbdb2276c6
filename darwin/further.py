"""Granted data sets: further text to train on, in the tokens of the run's own data, and never text it is judged on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from darwin.errors import UsageError
from darwin.memory.requests import Kind, Request, granted
from darwin.memory.store import write_atomically
from darwin.prepare import cache_folder, read_text
from darwin.sandbox import Dataset
from darwin.sandbox.dataset import Tokens
from darwin.sandbox.grams import grams

MOST_TOKENS = 50_000_000
"""Tokens of a granted data set: 100 MB, which every trial gets a copy of."""

SHARED = 0.001
"""Share of the judged windows that granted text may hold: set phrases happen, copied text does not."""

UNKNOWN = 0.05
"""Share of a text's characters that may be left out because the run's data have none of them."""

_RESERVED = ("train", "val", "test", "meta")
_FILE = "tokens.bin"


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready to be granted."""

    name: str
    folder: Path
    digest: str


def prepare(path: Path, dataset: Dataset, context: int) -> Prepared:
    """Turn a text (file or folder), or a folder with a train.bin, into tokens of ``dataset``, kept in the cache.

    Args:
        context: tokens of a judged window.

    Raises:
        UsageError: it cannot be read, is too large or too small, or holds text that scripts are judged on.
    """
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")[:30]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _RESERVED:
        raise UsageError(
            f"{path}: name the file or folder by what it holds, beginning with a letter; not {name!r}."
        )
    tokens = _tokens(path, dataset)
    if not context < len(tokens) <= MOST_TOKENS:
        raise UsageError(
            f"{path} makes {len(tokens):,} tokens; a data set has {context + 1} to {MOST_TOKENS:,}."
        )
    for split in ("val", "test"):
        share = overlap(dataset.splits[split], tokens, context)
        if share > SHARED:
            raise UsageError(
                f"{path} holds {share:.1%} of the windows of the {split} split: scripts would learn by heart what they "
                "are judged on. Take that text out first."
            )
    data = tokens.astype("<u2").tobytes()
    digest = hashlib.sha256(data).hexdigest()
    folder = cache_folder() / f"further-{digest[:16]}"
    write_atomically(folder / _FILE, data)
    return Prepared(name, folder, digest)


def _tokens(path: Path, dataset: Dataset) -> Tokens:
    """The text in the run's tokens, without the few characters that those have no token for."""
    symbols = dataset.meta.get("chars")
    if path.is_dir() and (path / "train.bin").is_file():
        tokens: Tokens = np.fromfile(path / "train.bin", dtype="<u2")
        if len(tokens) and int(tokens.max()) >= dataset.vocab_size:
            raise UsageError(
                f"{path}/train.bin holds token {int(tokens.max())}; the run knows {dataset.vocab_size}."
            )
        return tokens
    if not symbols:
        raise UsageError(
            f"The run's tokens are no characters. Give a folder with a train.bin in place of {path}."
        )
    codes = np.frombuffer(read_text(path, str(path)).encode("utf-32-le"), dtype=np.uint32)
    known = np.array([ord(symbol) for symbol in symbols], dtype=np.uint32)
    order = np.argsort(known)
    at = np.clip(np.searchsorted(known[order], codes), 0, len(known) - 1)
    hits = known[order][at] == codes
    if len(codes) and hits.mean() < 1 - UNKNOWN:
        raise UsageError(f"{path}: the run's data have no token for {1 - hits.mean():.0%} of its characters.")
    named: Tokens = order[at[hits]].astype(np.uint16)
    return named


def overlap(judged: Tokens, other: Tokens, context: int) -> float:
    """Share of the windows of ``context`` tokens in a judged split that stand in another text, word for word."""
    mine, theirs = (grams(tokens, context) for tokens in (judged, other))
    return float(np.isin(mine, theirs).mean()) if len(mine) and len(theirs) else 0.0


def with_further(dataset: Dataset, requests: Mapping[str, Request]) -> Dataset:
    """The data with everything granted beside. Raises UsageError where that is gone from the cache, or changed."""
    found = {}
    for request in granted(requests, Kind.DATASET):
        found[request.given] = _load(file_of(request))
    return replace(dataset, further=found) if found else dataset


@cache
def _load(path: Path) -> Tokens:
    return np.memmap(path, dtype="<u2", mode="r")


def file_of(request: Request) -> Path:
    """The tokens of a granted data set, in the cache. Raises UsageError where they are gone from there, or changed."""
    ruling = request.rulings[-1]
    return _checked(Path(ruling.folder) / _FILE, ruling.digest, request.id)


@cache
def _checked(path: Path, digest: str, request: str) -> Path:
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise UsageError(
            f"{path}, the data set of {request}, is gone or changed. Put it back: scripts train on it."
        )
    return path
