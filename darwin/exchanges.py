"""What a person sees of a child's way through a model: expectation and outcome, repairs, cost, lesson, transcript."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from darwin.changes import visible
from darwin.memory.memory import percent
from darwin.memory.records import Individual
from darwin.screen import Screen, safe
from darwin.spending import in_words

LONGEST = 400  # lines of one message


def expected_in_words(individual: Individual) -> str:
    """What its author expected, and beside it what was measured."""
    expected, measured = individual.expected.log_perplexity, individual.delta.get("parent")
    if expected is None:
        return ""
    words = f"{percent(expected)} perplexity"
    if individual.expected.mfu is not None:
        words += f", {individual.expected.mfu:+.1%} MFU"
    return words + ("" if measured is None else f"; measured {percent(measured)} perplexity to its parent")


def model_rows(individual: Individual) -> list[tuple[str, str]]:
    """Label and text of what a model had to do with it; nothing for a child that none has written."""
    if individual.model is None:
        return []
    last = [(error.strip().splitlines() or [""])[-1] for error in individual.repairs]
    rows = [
        ("Model", safe(individual.model)),
        ("Repairs", f"{len(last)}, of: {safe('; '.join(last), 300)}" if last else ""),
        ("Cost", in_words(individual.usage) if individual.usage else ""),
    ]
    if individual.finding:
        rows.append(
            (
                "Lesson",
                f"{safe(individual.finding.text, 600)} (from {', '.join(individual.finding.evidence)})",
            )
        )
    return [*rows, ("Transcript", "--transcript shows what was said")]


def show_transcript(screen: Screen, exchanges: Iterable[Mapping[str, Any]]) -> None:
    """Print exchanges: whose, what was said last to the model (the whole of it the first time), and its answer."""
    number = 0
    for number, exchange in enumerate(exchanges, start=1):
        usage = exchange.get("usage") or {}
        tokens = f"{usage.get('prompt_tokens', 0):,} + {usage.get('completion_tokens', 0):,} tokens"
        replayed = ", replayed" if exchange.get("replayed") else ""
        who = safe(f"{exchange['agent']} as {exchange['role']}, {exchange['model']}")
        screen.say(f"--- {number}. {who}, {tokens}{replayed}", "bold")
        messages = exchange["request"].get("messages", [])
        for message in messages if len(messages) <= 2 else messages[-1:]:
            _print(screen, str(message.get("role")), str(message.get("content")))
        _print(screen, "answer", _answer(exchange["response"]))
    if not number:
        screen.say("There is no transcript of it.")


def _answer(response: Mapping[str, Any]) -> str:
    choices = response.get("choices")
    if isinstance(choices, list) and choices:
        return str(choices[0].get("message", {}).get("content"))
    return f"none: {response.get('error', response)}"


def _print(screen: Screen, who: str, text: str) -> None:
    screen.say(f"[{safe(who)}]", "bold")
    for line in text.splitlines()[:LONGEST]:
        screen.say("  " + visible(line))
