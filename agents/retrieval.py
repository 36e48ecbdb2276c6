"""Knowledge for a script: the techniques whose words are nearest to it, by BM25."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from darwin.agents.knowledge import Technique, techniques

if TYPE_CHECKING:
    import bm25s

_WORD = re.compile(r"[a-z]{3,}")
_COMMON = frozenset(
    ["the", "and", "for", "its", "that", "this", "with", "from", "self", "def", "return", "import", "none", "not"]
)  # fmt: skip


def nearest(query: str, without: Iterable[str] = (), most: int = 6) -> list[Technique]:
    """The techniques nearest to a text, best first, except those of the ids ``without``; pure."""
    known = techniques()
    words = [word for word in _words(query) if word in _vocabulary()]
    if not words:
        return []
    scores = _index().get_scores(sorted(set(words)))
    left_out = set(without)
    ranked = sorted(range(len(known)), key=lambda i: (-float(scores[i]), known[i].id))
    return [known[i] for i in ranked if known[i].id not in left_out and scores[i] > 0][:most]


@cache
def _index() -> bm25s.BM25:
    import bm25s  # with scipy: a quarter second that no other command should pay

    index = bm25s.BM25()
    index.index([_words(_document(technique)) for technique in techniques()], show_progress=False)
    return index


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(word for technique in techniques() for word in _words(_document(technique)))


def _document(technique: Technique) -> str:
    return f"{technique.title} {technique.title} {technique.family} {technique.changes} {technique.body}"


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower().replace("_", " ")) if word not in _COMMON]
