"""A prepared data folder: train.bin, val.bin, test.bin (uint16 tokens) and meta.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darwin.sandbox.errors import DatasetError

SPLITS = ("train", "val", "test")
_CHUNK = 1 << 22  # tokens looked at in one go: 8 MiB

Tokens = NDArray[np.uint16]


@dataclass(frozen=True)
class Dataset:
    """The three splits, memory-mapped, each of shape (tokens,); ``bytes_per_token`` is the mean UTF-8 length,
    None where the text behind the tokens is not known (a nanoGPT folder of .bin files)."""

    folder: Path
    name: str
    vocab_size: int
    bytes_per_token: float | None
    meta: Mapping[str, Any]
    splits: Mapping[str, Tokens] = field(repr=False, compare=False)
    further: Mapping[str, Tokens] = field(default_factory=dict, repr=False, compare=False)
    """Granted text beside, by name, to train on and never to be judged by; a script finds it as ``<name>.bin``."""

    @classmethod
    def load(cls, folder: Path | str) -> Dataset:
        """Open a prepared folder; raises ``DatasetError`` for a missing, odd or empty file and a bad token."""
        folder = Path(folder)
        meta = _read_meta(folder / "meta.json")
        splits = {split: _open_split(folder / f"{split}.bin", meta["vocab_size"]) for split in SPLITS}
        name = str(meta.get("name", folder.name))
        return cls(folder, name, meta["vocab_size"], meta.get("bytes_per_token"), meta, splits)

    @cached_property
    def digest(self) -> str:
        """sha256 over names, sizes and bytes of the four files, in hexadecimal."""
        digest = hashlib.sha256()
        for name in ("meta.json", *(f"{split}.bin" for split in SPLITS)):
            path = self.folder / name
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def _held_out(self) -> bytes:
        """sha256 over validation and test tokens."""
        digest = hashlib.sha256()
        for split in SPLITS[1:]:
            for start in range(0, len(self.splits[split]), _CHUNK):
                digest.update(self.splits[split][start : start + _CHUNK].tobytes())
        return digest.digest()

    def key(self, seed: int) -> str:
        """What the order of judging and the leak probe are drawn from: the same for equal seeds, and known only to
        who holds the held-out splits. A script knows its seed; by that alone it could tell where not to peek."""
        return hashlib.sha256(b"judging %d " % seed + self._held_out).hexdigest()

    def require(self, context: int) -> None:
        """Raise ``DatasetError`` unless every split holds at least one window: context + 1 tokens."""
        for split, tokens in self.splits.items():
            if len(tokens) < context + 1:
                raise DatasetError(
                    f"{self.folder / f'{split}.bin'} has {len(tokens)} tokens, too few for one window of {context} "
                    f"and its last target. Use a longer text."
                )

    def training_files(self, seed: int, salt: str = "") -> dict[str, bytes]:
        """The data folder of a train command: train.bin and all granted text, each rotated, and meta.json."""
        further = {f"{name}.bin": self.rotated(seed, salt, tokens) for name, tokens in self.further.items()}
        return {"train.bin": self.rotated(seed, salt), "meta.json": self.meta_for_training(), **further}

    def rotated(self, seed: int, salt: str = "", tokens: Tokens | None = None) -> bytes:
        """Tokens (those of train.bin) as uint16 bytes, rotated by an offset drawn from sha256 of seed (and salt)."""
        tokens = self.splits["train"] if tokens is None else tokens
        text = f"rotation {seed}" if not salt else f"rotation {seed} {salt}"
        offset = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % len(tokens)
        return tokens[offset:].tobytes() + tokens[:offset].tobytes()

    def meta_for_training(self) -> bytes:
        """meta.json as a train command sees it: without the sizes of the splits it never gets."""
        return json.dumps({key: value for key, value in self.meta.items() if key != "tokens"}).encode()


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}. Prepare the data again.") from None
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON: {error}.") from None
    if not isinstance(meta, dict) or meta.get("kind") != "tokens":
        raise DatasetError(f'{path}: "kind" must be "tokens".')
    size = meta.get("vocab_size")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 65536:
        raise DatasetError(f'{path}: "vocab_size" must be a whole number from 1 to 65536, not {size!r}.')
    length = meta.get("bytes_per_token")
    if length is not None and (
        not isinstance(length, int | float) or isinstance(length, bool) or not length > 0
    ):
        raise DatasetError(f'{path}: "bytes_per_token" must be a number above 0 or null, not {length!r}.')
    return meta


def _open_split(path: Path, vocab_size: int) -> Tokens:
    try:
        size = path.stat().st_size
        if size % 2:
            raise DatasetError(f"{path} has an odd size of {size} bytes; uint16 tokens take two bytes each.")
        if size == 0:
            raise DatasetError(f"{path} is empty.")
        tokens: Tokens = np.memmap(path, dtype="<u2", mode="r")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}. Prepare the data again.") from None
    for start in range(0, len(tokens), _CHUNK):
        largest = int(tokens[start : start + _CHUNK].max())
        if largest >= vocab_size:
            raise DatasetError(f"{path} holds token {largest}, but meta.json says vocab_size {vocab_size}.")
    return tokens
