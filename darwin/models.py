"""Language models for a run: who asks which, with what key, and the gateway to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from darwin.agents.gateway import Gateway, Seat
from darwin.agents.ledger import FREE, Allowance, Ledger, Price, price_of, prices, require_prices
from darwin.agents.members import FILE, Member, Members, members, read
from darwin.agents.transcripts import Recording, Transcripts
from darwin.agents.upstream import Endpoint
from darwin.config import Config
from darwin.errors import UsageError

OPENAI = "https://api.openai.com/v1"
HINT = "hint.md"
"""In the workspace: advice that every agent which asks a model reads (autoresearch's program.md)."""


def members_of(config: Config, workspace: Path) -> Members:
    """The agents of a configuration. Raises AgentError where they cannot be read."""
    if config.agents == FILE:
        return read(workspace / FILE)
    return members(config.agents, config.model, config.style)


def transcripts_of(workspace: Path) -> Transcripts:
    """Where the exchanges of a workspace are kept."""
    return Transcripts(workspace / "artifacts" / "transcripts")


def endpoint_of(member: Member) -> Endpoint:
    """Where a member's model is asked, from agents.toml and the environment.

    Raises UsageError without a key or an address. OPENAI_API_KEY never goes to an address of agents.toml.
    """
    if member.key and not os.environ.get(member.key):
        raise UsageError(
            f"{_at(member, 'key')}{member.name}'s key should be in {member.key}, and that is not set. Set it, or name "
            "another variable."
        )
    named = f"{member.key} ({member.places['key']})" if member.key and member.places else member.key
    if member.endpoint:
        place = member.places.get("endpoint", FILE)
        return Endpoint(
            member.endpoint, os.environ[member.key] if member.key else "", url_from=f"endpoint in {place}",
            key_from=named or f"it: {place} names no key for this endpoint",
        )  # fmt: skip
    key = os.environ[member.key] if member.key else os.environ.get("OPENAI_API_KEY", "")
    address = os.environ.get("OPENAI_BASE_URL", "")
    if not key and not address:
        raise UsageError(
            f"{_at(member, 'model')}{member.name} asks the model {member.model}, but there is neither a key nor an "
            "address for it. Set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own "
            "(http://localhost:8000/v1)."
        )
    return Endpoint(address or OPENAI, key, key_from=named or "OPENAI_API_KEY")


def _at(member: Member, key: str) -> str:
    """Where agents.toml says it, to begin a sentence with; nothing for a member that no file names."""
    return f"{member.places[key]}: " if key in member.places else ""


def seats(found: Members, replayed: bool = False) -> list[Seat]:
    """The members' places at the gateway. Raises as ``endpoint_of``; a replay needs no endpoint."""
    known = prices(found.prices)
    places = []
    for member in found.asking:
        endpoint = Endpoint("http://replay.invalid") if replayed else endpoint_of(member)
        price: Price | None = price_of(member.model, known)
        if endpoint.here and member.model not in found.prices:
            price = FREE
        places.append(Seat(member.name, member.model, endpoint, price, member.answer_tokens))
    return places


def limits_of(found: Members, max_cost: float | None) -> Allowance:
    """The limits of all together; of two limits in dollars the smaller."""
    both = [d for d in (found.limits.dollars, max_cost) if d is not None]
    return replace(found.limits, dollars=min(both, default=None))


@contextmanager
def gateway_for(
    config: Config,
    workspace: Path,
    say: Callable[..., None],
    replay: Path | None = None,
    agents: Path | None = None,
) -> Iterator[Gateway | None]:
    """The gateway of a run, or None where no agent asks a model. Asks each endpoint for its list of models first.
    ``agents`` is the file that a person gave for the workspace's own, so that a mistake is named in that one.

    Raises UsageError or AgentError: no key, an unknown price under a limit in dollars, an endpoint that does not
    answer as one; nothing was spent then.
    """
    found = members_of(config, workspace) if agents is None else read(agents)
    if not found.asking:
        if replay is not None:
            raise UsageError(
                "--replay is for agents that ask a model, and there are none. Give --agents openai:2 too."
            )
        yield None
        return
    places = seats(found, replay is not None)
    whole, each = limits_of(found, config.max_cost), {m.name: m.limits for m in found.asking}
    if replay is not None:  # costs nothing, and its limits are in the recording
        whole, each = Allowance(), {}
    elif whole.dollars is not None or any(m.limits.dollars is not None for m in found.asking):
        require_prices((s.model for s in places), {s.model: s.price for s in places})
    transcripts = transcripts_of(workspace)
    ledger = Ledger(whole, each, transcripts.spent())
    recording = None if replay is None else Recording(replay)
    gateway = Gateway(places, ledger, transcripts, replay=recording, say=say)
    try:
        offered = gateway.check()
        for place in places:
            names = offered.get(place.endpoint.host, ())
            if names and place.model not in names:
                some = ", ".join(names[:6])
                say(
                    f'{place.endpoint.host} does not list the model "{place.model}" (it lists {some}).',
                    "yellow",
                )
        gateway.require_room({m.name: m.prompt_tokens for m in found.asking})
        yield gateway
    finally:
        gateway.close()
