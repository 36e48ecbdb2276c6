"""How many tokens a text has, before anybody has counted it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BYTES_PER_TOKEN = 3.0
"""A guess on the safe side: code and English prose take 3.3 to 4.2 bytes a token in current vocabularies."""

_ENCODING = "o200k_base"
_RANKS = f"https://openaipublic.blob.core.windows.net/encodings/{_ENCODING}.tiktoken"


def count(text: str) -> int:
    """Tokens by tiktoken where it is installed and has its ranks on this machine; else ``estimate``."""
    encoding = _encoding()
    return estimate(text) if encoding is None else len(encoding.encode_ordinary(text))


def estimate(text: str) -> int:
    """A guess on the safe side, from the size alone."""
    return int(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN) + 1


@cache
def _encoding() -> Any:
    """tiktoken's encoding, if using it needs no download: it waits without end where there is no network."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    place = Path(folder) if folder else Path(tempfile.gettempdir()) / "data-gym-cache"
    if find_spec("tiktoken") is None or not (place / hashlib.sha1(_RANKS.encode()).hexdigest()).is_file():
        return None
    try:
        return import_module("tiktoken").get_encoding(_ENCODING)
    except Exception:  # whatever is wrong with its file: a count must never fail a run
        return None
