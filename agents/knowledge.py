"""The knowledge base: published ideas as Markdown files, with ready edits for the base script.

A file of ``knowledge/`` is YAML front matter between two ``---`` lines, a body that says when the idea helps
or hurts, and under ``## Edits`` the blocks that apply it (edits.py). Effects and price are measured, and written by
``bench/knowledge/write.py``, never by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from darwin.agents import edits
from darwin.agents.errors import EditError, KnowledgeError
from darwin.memory.effects import Prior

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
SHORT, LONG = "20s", "120s"  # the horizons that effects are measured at: a trial's budget, and six times it
EARLIER = "160ktok"  # what the first techniques were measured at before: tokens, charged with their price
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
class Effect:
    """What an idea alone did to the base within an equal bill of CPU time, on a text other than the default one.

    ``mean`` is the difference of log perplexity (nats per token, negative is better), ``sd`` the standard deviation
    of that mean by luck of the seeds, ``mfu`` the difference of log MFU (positive is better).
    """

    mean: float
    sd: float
    mfu: float


@dataclass(frozen=True)
class Technique:
    """A published idea with ready edits.

    ``short`` and ``long`` are its effects at the two horizons (``short`` at ``EARLIER``, where it was measured there
    alone), ``price`` its training CPU time a token over the
    base's; None where it was not measured. ``conflicts`` are ids it cannot join.
    """

    id: str
    title: str
    family: str
    source: Source
    changes: str
    short: Effect | None
    long: Effect | None
    price: float | None
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
    if odd := effect.keys() - {EARLIER, SHORT, LONG}:
        raise KnowledgeError(
            f'{name}: "effect" is at {EARLIER}, {SHORT} and {LONG}, not at "{sorted(map(str, odd))[0]}".'
        )
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
        short=_effect(name, effect, SHORT) or _effect(name, effect, EARLIER),
        long=_effect(name, effect, LONG),
        price=None if front.get("price", "") is None else _number(name, front, "price"),
        conflicts=tuple(map(str, _value(name, front, "conflicts", list))),
        body=body,
        edits=blocks,
    )


def _effect(name: str, effects: Mapping[str, Any], horizon: str) -> Effect | None:
    if horizon not in effects:
        return None
    found: dict[str, Any] = _value(name, effects, horizon, dict)
    return Effect(*(_number(name, found, key) for key in ("mean", "sd", "mfu")))


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


def priors() -> dict[str, Prior]:
    """What is known of each technique before a run, by lesson id; a horizon that was not measured is unknown."""
    return {
        f"technique:{technique.id}": Prior(
            short=None if technique.short is None else (technique.short.mean, technique.short.sd),
            long=None if technique.long is None else (technique.long.mean, technique.long.sd),
            mfu=None if technique.short is None else (technique.short.mfu, MFU_SD),
        )
        for technique in techniques()
    }


MFU_SD = 0.03
"""Standard deviation of an effect on log MFU: what the clock does to it."""
