"""What an agent's program answers, checked: it comes from a container, and holds a model's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from darwin.agents.errors import AgentError, ModelsStopped, Unanswered
from darwin.agents.prompts import plain_line
from darwin.memory.records import Expectation
from darwin.memory.requests import Kind, Wish

BROKEN = "the agent's program broke the form of its answers"


class TooLong(Unanswered):
    """The prompt does not fit the model."""


class NeverUsable(Unanswered):
    """The model answered, and none of its answers could be used."""


def raised(error: Any, model: str) -> AgentError:
    """The error that an agent's program reports, as an exception; it comes from a container, so it is only text."""
    kind, message = (
        (error.get("type"), plain_line(str(error.get("message")), 400))
        if isinstance(error, dict)
        else ("", "")
    )
    if kind == "stopped":
        return ModelsStopped(message)
    if kind == "context":
        return TooLong(message)
    if kind == "unusable":
        return NeverUsable(f"{model} gave no usable answer in three tries; of the last: {message}")
    return Unanswered(message or "the agent's program gave no reason")


def asked_again(answer: Mapping[str, Any]) -> list[str]:
    """What was wrong with the answers that an agent's program asked for again."""
    problems = answer.get("again")
    return [plain_line(str(one), 200) for one in problems[:10]] if isinstance(problems, list) else []


_TYPES: dict[str, Callable[[Any], bool]] = {
    "text": lambda v: isinstance(v, str),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "texts": lambda v: isinstance(v, list) and all(isinstance(one, str) for one in v),
    "request": lambda v: isinstance(v, dict),
    "changes": lambda v: (
        isinstance(v, list)
        and all(
            isinstance(c, dict)
            and isinstance(c.get("setting"), str)
            and isinstance(c.get("value"), int | float)
            for c in v
        )
    ),
}


def checked(answer: Mapping[str, Any], wants: Mapping[str, str]) -> dict[str, Any]:
    """An answer from a container, by the form that was asked for. Raises ``Unanswered`` for another."""
    head, body = answer.get("head"), answer.get("body")
    if not isinstance(head, dict) or not isinstance(body, str) or len(body) > 1_000_000:
        raise Unanswered(BROKEN)
    for name, kind in wants.items():
        if name not in head and kind.endswith("?"):
            continue
        if name not in head or not _TYPES[kind.rstrip("?")](head[name]):
            raise Unanswered(BROKEN)
    return {"head": {name: head[name] for name in wants if name in head}, "body": body}


def wish_of(found: Any) -> Wish | None:
    """What an answer asks people for; None where it asks for nothing, or in a form that means nothing."""
    if not isinstance(found, dict):
        return None
    effect = found.get("expected_log_perplexity")
    known = isinstance(effect, int | float) and not isinstance(effect, bool) and abs(effect) <= 5
    try:
        return Wish(
            kind=Kind(str(found.get("kind")).strip().lower()),
            wanted=plain_line(str(found.get("wanted") or ""), 200),
            reason=plain_line(str(found.get("reason") or ""), 300),
            expected=Expectation(
                log_perplexity=round(float(effect), 6) if known and effect is not None else None
            ),
            evidence=tuple(plain_line(str(one), 60) for one in found.get("evidence") or ())[:20],
        )
    except (ValueError, TypeError):
        return None


def lesson_schema(ids: list[str]) -> dict[str, Any]:
    evidence = {"type": "array", "items": {"type": "string", "enum": ids}, "minItems": 1, "maxItems": 4}
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "lesson", "strict": True,
            "schema": {
                "type": "object", "additionalProperties": False, "required": ["lesson", "evidence"],
                "properties": {"lesson": {"type": "string", "maxLength": 500}, "evidence": evidence},
            },
        },
    }  # fmt: skip
