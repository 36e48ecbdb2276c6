"""The kinds of failure between an agent and a model: one name each, on the wire and in a recording."""

from __future__ import annotations

from darwin.agents.errors import AgentError, ModelsStopped, Unanswered
from darwin.agents.ledger import LimitReached
from darwin.agents.upstream import Rejected

STATUS = {"limit": 429, "context": 400, "rejected": 400, "stopped": 403, "unavailable": 503}
"""The HTTP status with which the gateway tells an agent of each."""


def kind_of(error: AgentError) -> str:
    """Which of them an error is."""
    if isinstance(error, LimitReached):
        return "limit"
    if isinstance(error, Rejected):
        return "context" if error.context else "rejected"
    return "stopped" if isinstance(error, ModelsStopped) else "unavailable"


def as_error(kind: object, message: str) -> AgentError:
    """The error of a kind, to be raised again; a recording by an older darwin names none, and is ``unavailable``."""
    if kind in ("context", "rejected"):
        return Rejected(message, context=kind == "context")
    if kind == "limit":
        return LimitReached(message)
    return ModelsStopped(message) if kind == "stopped" else Unanswered(message)
