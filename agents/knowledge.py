"""The knowledge base: published ideas as Markdown files, with ready edits for the base script.

A file of ``knowledge/`` is YAML front matter between two ``---`` lines, a body that says when the idea helps
or hurts, and under ``## Edits`` the blocks that apply it (edits.py). The effects are measured (bench/knowledge).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from darwin.agents import edits
from darwin.agents.errors import EditError, KnowledgeError
from darwin.memory.effects import Prior
from darwin.memory.records import Expectation

FOLDER = Path(__file__).resolve().parent / "knowledge"
FAMILIES = (
    "activation",
    "attention",
    "batch",
    "embedding",
    "head",
    "initialisation",
    "loss",
    "mlp",
    "norm",
    "optimizer",
    "positions",
    "residual",
    "schedule",
    "shape",
    "throughput",
)
LONGEST_SUBJECT = 60  # characters of ``changes``, so that it fits a commit subject

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where an idea was published; ``arxiv`` is its number there, None for a post or a repository."""

    authors: str
    title: str
    year: int
    arxiv: str | None


@dataclass(frozen=True)
class Technique:
    """A published idea with ready edits.

    ``effect`` is the prior, measured alone on the base at 160 k tokens: the difference of log perplexity and of
    MFU. ``price`` is its training CPU time a token over the base's. ``conflicts`` are ids it cannot join.
    """

    id: str
    title: str
    family: str
    source: Source
    changes: str
    effect: Expectation
    price: float
    conflicts: tuple[str, ...]
    body: str
    edits: tuple[edits.Edit, ...]


@cache
def techniques() -> tuple[Technique, ...]:
    """All techniques that ship with darwin, by id. Raises KnowledgeError naming file and key."""
    found = tuple(read(path.name, path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.md")))
    ids = {technique.id for technique in found}
    for technique in found:
        for other in technique.conflicts:
            if other not in ids:
                raise KnowledgeError(
                    f'{technique.id}.md: "conflicts" names "{other}", which is no technique.'
                )
    return found


def read(name: str, text: str) -> Technique:
    """The technique in one file's text. Raises KnowledgeError naming file and key."""
    head, separator, rest = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not separator:
        raise KnowledgeError(
            f"{name}: the front matter is missing. Begin the file with --- and end it with ---."
        )
    try:
        front = yaml.safe_load(head)
    except yaml.YAMLError as error:
        raise KnowledgeError(
            f"{name}: the front matter is not YAML ({str(error).splitlines()[0]})."
        ) from error
    if not isinstance(front, dict):
        raise KnowledgeError(f"{name}: the front matter is not a list of keys and values.")
    body, _, blocks = rest.partition("\n## Edits\n")
    try:
        parsed = tuple(edits.parse(blocks))
    except EditError as error:
        raise KnowledgeError(f"{name}: {error}") from error
    technique = _technique(name, front, body.strip(), parsed)
    if technique.id + ".md" != name:
        raise KnowledgeError(f'{name}: "id" is "{technique.id}", but the file is called "{name}".')
    if technique.family not in FAMILIES:
        raise KnowledgeError(f'{name}: "family" is "{technique.family}", accepted are {", ".join(FAMILIES)}.')
    if len(technique.changes) > LONGEST_SUBJECT:
        raise KnowledgeError(
            f'{name}: "changes" has {len(technique.changes)} characters, at most {LONGEST_SUBJECT}.'
        )
    return technique


def _technique(name: str, front: dict[str, Any], body: str, blocks: tuple[edits.Edit, ...]) -> Technique:
    source: dict[str, Any] = _value(name, front, "source", dict)
    effect: dict[str, Any] = _value(name, front, "effect", dict)
    unknown = front.keys() - {"id", "title", "family", "source", "changes", "effect", "price", "conflicts"}
    if unknown:
        raise KnowledgeError(f'{name}: "{sorted(map(str, unknown))[0]}" is no key of the front matter.')
    arxiv = source.get("arxiv")
    if not isinstance(arxiv, str | None):
        raise KnowledgeError(f'{name}: "arxiv" is {arxiv!r}, expected a text in quotes, or null.')
    return Technique(
        id=_value(name, front, "id", str),
        title=_value(name, front, "title", str),
        family=_value(name, front, "family", str),
        source=Source(
            authors=_value(name, source, "authors", str),
            title=_value(name, source, "title", str),
            year=_value(name, source, "year", int),
            arxiv=arxiv,
        ),
        changes=_value(name, front, "changes", str),
        effect=Expectation(
            log_perplexity=_number(name, effect, "log_perplexity"), mfu=_number(name, effect, "mfu")
        ),
        price=_number(name, front, "price"),
        conflicts=tuple(map(str, _value(name, front, "conflicts", list))),
        body=body,
        edits=blocks,
    )


def _value(name: str, front: Mapping[str, Any], key: str, kind: type[T]) -> T:
    if key not in front:
        raise KnowledgeError(f'{name}: the front matter has no "{key}".')
    value = front[key]
    if not isinstance(value, kind):
        raise KnowledgeError(f'{name}: "{key}" is {value!r}, expected a {kind.__name__}.')
    return value


def _number(name: str, front: Mapping[str, Any], key: str) -> float:
    value = _value(name, front, key, object)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KnowledgeError(f'{name}: "{key}" is {value!r}, expected a number.')
    return float(value)


def rivals(ids: Iterable[str]) -> tuple[str, str] | None:
    """Two of these techniques that cannot join, if there are any."""
    known = {technique.id: technique for technique in techniques()}
    present = dict.fromkeys(ids)
    found = ((one, two) for one in present if one in known for two in known[one].conflicts if two in present)
    return next(found, None)


SHORT_SD = 0.015
"""Standard deviation of an effect that was measured once."""

PER_LOG_TIME = 0.2
"""Nats that the base gains from e times the tokens near 160 k of them: what a technique's price costs at equal time."""


def priors() -> dict[str, Prior]:
    """What is known of each technique before a run, by lesson id, at equal training time."""
    return {f"technique:{technique.id}": prior(technique) for technique in techniques()}


def prior(technique: Technique) -> Prior:
    """What the front matter says of a technique's effect; a horizon that was not measured is unknown."""
    effect, price = technique.effect, PER_LOG_TIME * math.log(technique.price)
    short = None if effect.log_perplexity is None else (effect.log_perplexity + price, SHORT_SD)
    return Prior(short=short, long=None, mfu=None if effect.mfu is None else (effect.mfu, 0.03))
