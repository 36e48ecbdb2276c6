"""Data: turn a text, or existing token files, into ``train.bin``, ``val.bin``, ``test.bin`` and ``meta.json``.

Everything lands in a cache folder named by its content, so that preparing twice costs nothing:
``$DARWIN_CACHE``, else the platform's user cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from darwin.corpus import SHA256, shakespeare
from darwin.errors import UsageError

SHORTEST = 10_000
"""Characters; less leaves too few windows in the 5 % of a validation split for a loss to mean anything."""
SPLITS = {"train": (0.0, 0.9), "val": (0.9, 0.95), "test": (0.95, 1.0)}
MOST_SYMBOLS = 1 << 16
Tokens = npt.NDArray[np.uint16]


def cache_folder() -> Path:
    """Where prepared data are kept."""
    given = os.environ.get("DARWIN_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("darwin", appauthor=False))


def prepare(text: Path | None = None, data: Path | None = None) -> Path:
    """Prepare a data set, or find it prepared, and return its folder.

    Args:
        text: a UTF-8 file, or a folder whose ``*.txt`` and ``*.md`` files are joined in order of their paths.
        data: a folder of nanoGPT-style ``train.bin`` and ``val.bin`` (uint16), ``test.bin`` optional.
            With neither, the embedded default: Shakespeare.

    Raises:
        UsageError: both are given; the text is missing, empty, not UTF-8 or too short; there is no network
            for the default.
    """
    if text is not None and data is not None:
        raise UsageError("--text and --data both say what to train on. Give one of them.")
    if data is not None:
        return _from_bins(data)
    if text is not None:
        content = read_text(text, f"--text {text}")
        name = f"text-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        return _ready(name) or _write(name, text.name, *_characters(content, f"--text {text}"))
    name = default_folder().name
    return _ready(name) or _write(name, "shakespeare", *_characters(shakespeare(), "The default text"))


def default_folder() -> Path:
    """Where the embedded default is, once it is prepared."""
    return cache_folder() / f"shakespeare-{SHA256[:8]}"


def _ready(name: str) -> Path | None:
    """A prepared folder, if it is there and its files are as long as they should be."""
    folder = cache_folder() / name
    try:
        counts = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["tokens"]
        whole = all((folder / f"{split}.bin").stat().st_size == 2 * counts[split] for split in SPLITS)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if whole else None


def read_text(path: Path, called: str) -> str:
    """A UTF-8 file, or all .txt and .md files of a folder. Raises UsageError, which names it as it was ``called``."""
    if not path.exists():
        raise UsageError(f"{called}: there is no such file or folder.")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in (".txt", ".md"))
    if not files:
        raise UsageError(f"{called}: the folder holds no .txt or .md file.")
    parts = []
    for file in files:
        try:
            parts.append(file.read_bytes().decode())
        except UnicodeDecodeError as error:
            raise UsageError(
                f"--text {file} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}. "
                "Convert it first, for example: iconv -f latin1 -t utf8."
            ) from error
        except OSError as error:
            raise UsageError(f"--text {file} cannot be read: {error.strerror}.") from error
    return "\n\n".join(parts).replace("\r\n", "\n")


def _characters(content: str, what: str) -> tuple[Tokens, dict[str, object]]:
    """Tokenizer ``char``: one token a character, ids in the order of the code points."""
    if not content.strip():
        raise UsageError(f"{what} is empty. Give a UTF-8 text of at least {SHORTEST:,} characters.")
    if len(content) < SHORTEST:
        raise UsageError(
            f"{what} has {len(content):,} characters; at least {SHORTEST:,} are needed for a validation split "
            "whose loss means something."
        )
    codes = np.frombuffer(content.encode("utf-32-le"), dtype=np.uint32)
    symbols, tokens = np.unique(codes, return_inverse=True)
    if len(symbols) > MOST_SYMBOLS:
        raise UsageError(
            f"{what} has {len(symbols):,} distinct characters; at most {MOST_SYMBOLS:,} fit uint16."
        )
    meta = {
        "tokenizer": "char",
        "vocab_size": len(symbols),
        "chars": [chr(c) for c in symbols],
        "bytes_per_token": len(content.encode()) / len(content),
    }
    return tokens.astype(np.uint16), meta


def _from_bins(data: Path) -> Path:
    """Take nanoGPT's own files; where there is no test.bin, the second half of val.bin becomes it."""
    for needed in ("train.bin", "val.bin"):
        if not (data / needed).is_file():
            raise UsageError(
                f"--data {data}: there is no {needed} (uint16 tokens, as nanoGPT's prepare.py writes)."
            )
    splits = {}
    for name in ("train", "val", "test"):
        file = data / f"{name}.bin"
        if file.is_file():
            if file.stat().st_size % 2 or not file.stat().st_size:
                raise UsageError(
                    f"{file} is not a file of uint16 tokens: it has {file.stat().st_size} bytes."
                )
            splits[name] = np.fromfile(file, dtype="<u2")
    if "test" not in splits:
        half = len(splits["val"]) // 2
        splits["val"], splits["test"] = splits["val"][:half], splits["val"][half:]
    short = min(splits, key=lambda s: len(splits[s]))
    if len(splits[short]) < SHORTEST * 0.05:
        raise UsageError(f"--data {data}: the {short} split has only {len(splits[short])} tokens.")
    digest = hashlib.sha256(b"".join(hashlib.sha256(s.tobytes()).digest() for s in splits.values()))
    name = f"data-{digest.hexdigest()[:16]}"
    meta: dict[str, object] = {
        "tokenizer": None,
        "vocab_size": int(max(int(s.max()) for s in splits.values())) + 1,
        "bytes_per_token": None,
    }
    return _ready(name) or _store(name, data.resolve().name, splits, meta)


def _write(name: str, title: str, tokens: Tokens, meta: dict[str, object]) -> Path:
    n = len(tokens)
    splits = {split: tokens[int(n * a) : int(n * b)] for split, (a, b) in SPLITS.items()}
    return _store(name, title, splits, meta)


def _store(name: str, title: str, splits: dict[str, Tokens], meta: dict[str, object]) -> Path:
    """Write to a temporary folder and rename: a half-prepared data set is never seen."""
    target = cache_folder() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
    for split, tokens in splits.items():
        tokens.astype("<u2").tofile(work / f"{split}.bin")
    counts = {split: len(tokens) for split, tokens in splits.items()}
    full = {"kind": "tokens", "name": title, "tokens": counts, **meta}
    (work / "meta.json").write_text(json.dumps(full, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    try:
        work.rename(target)
    except OSError:
        if _ready(name):  # another darwin was faster
            shutil.rmtree(work)
        else:
            shutil.rmtree(target)
            work.rename(target)
    return target
