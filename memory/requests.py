"""Requests: what agents ask people for, what was answered, and what came of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from pydantic import Field

from darwin.memory.records import SCHEMA, Expectation, Individual, Record

MOST_EVIDENCE = 20
"""Individuals that one agent's asking names at the most; the latest ones are kept."""


LONGEST_SLUG = 24
"""Characters of a request's id after its kind; longer ones end in a hash of the whole."""


class Kind(StrEnum):
    """What can be asked for; ``wanted`` says which."""

    DATASET = "dataset"  # further text to train on: what it should be, in words
    PACKAGE = "package"  # einops, or einops==0.8.1
    FILE = "file"  # a new file that may be written: optim.py
    LAYOUT = "layout"  # definitions to be moved to a file of their own: MLP, Block from model.py to blocks.py
    BUDGET = "budget"  # a larger one for every trial: 40s, or x2


class State(StrEnum):
    """How far a request is."""

    OPEN = "open"
    GRANTED = "granted"  # a person said yes, and it is being carried out
    DONE = "done"
    FAILED = "failed"  # granted, and it could not be carried out
    DENIED = "denied"
    ANSWERED = "answered"  # with words alone


class Wish(Record):
    """A request as its author words it. ``evidence`` names individuals that speak for it."""

    kind: Kind
    wanted: str
    reason: str
    expected: Expectation = Expectation()
    evidence: tuple[str, ...] = ()


class Asking(Record):
    """One agent's asking, at the birth of its child of that ordinal."""

    agent: str
    child: str
    ordinal: int
    reason: str = Field(description="untrusted text")
    expected: Expectation = Expectation()
    evidence: tuple[str, ...] = Field(default=(), description="ids of individuals that speak for it")


class Ruling(Record):
    """What a person said to a request; ``given`` is what was granted, as far as it is not what was asked for."""

    request: str
    number: int = Field(description="1 for the first that was said to the request, 2 for the next")
    state: State = Field(description="granted, denied or answered")
    by: str = Field(description="the person's git identity")
    reason: str = ""
    given: str = Field(default="", description="what was granted, where that is not just what was asked for")
    lock: tuple[str, ...] = Field(default=(), description="of a package: requirement lines with their hashes")
    folder: str = Field(default="", description="of a data set: where it is prepared")
    digest: str = Field(default="", description="of a data set: sha256 of its tokens")
    settled: int = Field(default=0, description="births whose results were known when it was carried out")


class Request(Record):
    """A request with everyone who asked for it, and all that was said to it (``memory/requests/<id>.json``)."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    id: str
    kind: Kind
    wanted: str
    state: State = State.OPEN
    askings: tuple[Asking, ...]
    rulings: tuple[Ruling, ...] = ()
    outcome: str = Field(default="", description="what carrying it out came to, in one sentence")

    @property
    def askers(self) -> tuple[str, ...]:
        """Names of the agents that asked, the first one first."""
        return tuple(dict.fromkeys(asking.agent for asking in self.askings))

    @property
    def ruling(self) -> Ruling | None:
        """The last thing that a person said to it."""
        return self.rulings[-1] if self.rulings else None

    @property
    def given(self) -> str:
        """What was granted: what the person named, else what was asked for."""
        return (self.ruling.given if self.ruling else "") or self.wanted

    @property
    def evidence(self) -> tuple[str, ...]:
        """Ids of the individuals that speak for it."""
        return tuple(dict.fromkeys(one for asking in self.askings for one in asking.evidence))


def identity(kind: Kind, wanted: str) -> str:
    """The id of a request: equal ones have one id, whoever words them."""
    plain = wanted.lower() if kind is not Kind.FILE else wanted
    if kind is Kind.PACKAGE:
        plain = re.split(r"[^\w.-]", plain)[0]
        plain = re.sub(r"[-_.]+", "-", plain)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", plain).strip("-.")
    if len(slug) > LONGEST_SLUG or kind is Kind.DATASET:  # what is left out still tells two apart
        slug = f"{slug[:LONGEST_SLUG].strip('-.')}-{hashlib.sha256(plain.encode()).hexdigest()[:4]}"
    return f"{kind}-{slug}"


def filed(
    known: Request | None, wish: Wish, child: Individual, born: Mapping[str, Individual]
) -> Request | None:
    """The request with one more asking, by the author of ``child``; None where that changes nothing.

    An agent that asks again adds evidence to its own asking. What was turned down, answered or failed is open again
    once as many individuals speak for it that were born since as spoke for it then, and one at least. What is granted
    or done is not asked for again.
    """
    evidence = tuple(one for one in dict.fromkeys(wish.evidence) if one in born)
    asking = Asking(
        agent=child.author or "",
        child=child.id,
        ordinal=child.ordinal,
        reason=wish.reason,
        expected=wish.expected,
        evidence=evidence[:MOST_EVIDENCE],
    )
    if known is None:
        named = identity(wish.kind, wish.wanted)
        return Request(id=named, kind=wish.kind, wanted=wish.wanted, askings=(asking,))
    if known.state in (State.GRANTED, State.DONE):
        return None
    mine = next((one for one in known.askings if one.agent == asking.agent), None)
    askings = (*known.askings, asking)
    if mine is not None:
        evidence = tuple(dict.fromkeys((*mine.evidence, *evidence)))[-MOST_EVIDENCE:]
        more = mine.model_copy(update={"evidence": evidence})
        askings = tuple(more if one is mine else one for one in known.askings)
    changed = known.model_copy(update={"askings": askings})
    if known.ruling is not None and known.state is not State.OPEN:
        fresh = [one for one in changed.evidence if born[one].ordinal > known.ruling.settled]
        if len(fresh) >= max(1, len(changed.evidence) - len(fresh)):
            changed = changed.model_copy(update={"state": State.OPEN})
    return None if changed == known else changed


def granted(requests: Mapping[str, Request], kind: Kind, before: int | None = None) -> tuple[Request, ...]:
    """What was granted of a kind and carried out, oldest first: all, or what births from ordinal ``before`` on have."""
    done = [r for r in requests.values() if r.kind is kind and r.state is State.DONE]
    held = [r for r in done if r.ruling and (before is None or r.ruling.settled < before)]
    return tuple(sorted(held, key=lambda r: (r.ruling.settled if r.ruling else 0, r.id)))


def pending(requests: Mapping[str, Request], kind: Kind) -> list[Request]:
    """What was granted of a kind and is still to be carried out."""
    return [r for r in requests.values() if r.kind is kind and r.state is State.GRANTED]


def waiting(requests: Mapping[str, Request]) -> tuple[Request, ...]:
    """The open requests, the most wanted first."""
    found = [r for r in requests.values() if r.state is State.OPEN]
    return tuple(sorted(found, key=lambda r: (-len(r.askers), r.askings[0].ordinal, r.id)))


def uses(users: Iterable[Individual], request: str) -> tuple[Individual, ...]:
    """The individuals whose author made use of what a request brought."""
    return tuple(i for i in users if request in i.requests)
