"""Prompts: text files, filled in. A user's own of the same name, in the workspace's ``prompts/``, come first."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darwin.agents.errors import AgentError
from darwin.agents.tokens import BYTES_PER_TOKEN, count

FOLDER = Path(__file__).resolve().parent / "prompts"
_VERSION = re.compile(r"<!-- version (\w+) -->\n")


@dataclass(frozen=True)
class Item:
    """A piece of a section: its text, and the name under which a record says that it was shown ("" for none)."""

    text: str
    ref: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a prompt, the most important piece first; ``priority`` 0 is never shortened, 9 the first to go."""

    title: str
    items: tuple[Item, ...]
    priority: int


class Prompts:
    """The texts in force."""

    def __init__(self, folder: Path | None = None) -> None:
        self._own = folder

    def fill(self, name: str, /, **values: object) -> str:
        """A text with its ``{{names}}`` filled in. Raises AgentError for one that is not given."""
        text = self._read(name)
        for key, value in values.items():
            text = text.replace("{{" + key + "}}", str(value))
        left = re.search(r"\{\{(\w+)\}\}", text)
        if left:
            raise AgentError(f"The prompt {self.path(name)} has {{{{{left[1]}}}}}, which is not known there.")
        return text.strip()

    def version(self, name: str) -> str:
        """What a record says of the text in force: ``prompt:researcher@1``, or ``prompt:researcher@own``."""
        found = _VERSION.match(self.path(name).read_text(encoding="utf-8"))
        own = self.path(name).parent != FOLDER
        return f"prompt:{name}@{'own' if own else found[1] if found else '0'}"

    def path(self, name: str) -> Path:
        """The file in force."""
        own = self._own / f"{name}.md" if self._own else None
        return own if own is not None and own.is_file() else FOLDER / f"{name}.md"

    def _read(self, name: str) -> str:
        return _VERSION.sub("", self.path(name).read_text(encoding="utf-8"), count=1)


def mark(seed: object, texts: Sequence[str]) -> str:
    """A word that none of the texts holds, so that nobody who wrote one of them can end its quotation."""
    number = 0
    while True:
        word = hashlib.sha256(f"{seed} {number}".encode()).hexdigest()[:8]
        if not any(word in text for text in texts):
            return word
        number += 1


def quoted(word: str, title: str, text: str) -> str:
    """A text as data."""
    return f"[data {word}: {plain_line(title)}]\n{plain(text).rstrip()}\n[end {word}]"


def plain(text: str) -> str:
    """Without characters that no reader sees or that turn the direction of writing."""
    return "".join(c if c.isprintable() or c in "\n\t" else "·" for c in text.replace("\r\n", "\n"))


def plain_line(text: str, limit: int = 300) -> str:
    """As one line of bounded length."""
    line = " ".join(plain(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shortened(sections: Sequence[Section], tokens: int) -> list[Section]:
    """The sections with as many pieces as go into so many tokens: the last piece of the least important goes first."""
    kept = [list(section.items) for section in sections]
    sizes = [[count(item.text) for item in section.items] for section in sections]
    total = sum(map(sum, sizes))
    order = sorted(range(len(sections)), key=lambda i: -sections[i].priority)
    for i in order:
        while total > tokens and sections[i].priority and kept[i]:
            total -= sizes[i].pop()
            kept[i].pop()
    return [
        Section(s.title, tuple(items), s.priority) for s, items in zip(sections, kept, strict=True) if items
    ]


def end_of(text: str, tokens: int) -> str:
    """The end of a text, by whole lines, in about so many tokens: of a traceback that is what counts."""
    kept = cut("\n".join(reversed(text.splitlines())), tokens)
    return "\n".join(reversed(kept.splitlines()))


def start_of(text: str, size: int) -> str:
    """The first ``size`` bytes of a text, by whole characters."""
    return text.encode("utf-8", "surrogatepass")[: max(0, size)].decode("utf-8", "ignore")


def cut(text: str, tokens: int) -> str:
    """The beginning of a text, by whole lines, in about so many tokens (of a longer first line, its beginning)."""
    if count(text) <= tokens:
        return text
    lines: list[str] = []
    for line in text.splitlines():
        takes = count(line + "\n")
        if takes > tokens:
            lines += [] if lines else [start_of(line, round(tokens * BYTES_PER_TOKEN))]
            break
        tokens -= takes
        lines.append(line)
    return "\n".join([*lines, "(shortened)"])
