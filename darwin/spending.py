"""What models have cost so far, and at this rate to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from darwin.agents.ledger import Spent, total
from darwin.evolution import Evolution
from darwin.memory.records import Run, Usage
from darwin.repairs import in_words as shares_in_words
from darwin.repairs import shares


def announce(evolution: Evolution, target: int) -> None:
    """After a generation: calls, tokens and dollars so far, at this rate to the end; what failed, what was repaired."""
    if evolution.gateway is None:
        return
    evolution.screen.say(so_far(evolution.gateway.ledger.total(), evolution.run, target) + ".")
    found = shares(evolution.memory.individuals.values())
    if found.written:
        evolution.screen.say(shares_in_words(found) + ".")


def so_far(spent: Usage, run: Run, target: int | None) -> str:
    """Calls, tokens and dollars so far, and at this rate at the end of ``target`` generations."""
    words = f"Models so far: {in_words(spent)}"
    end = at_the_end(spent, run, target)
    if end is not None:
        words += f"; at this rate {tokens_of(end):,} tokens, {dollars(end.dollars)} at the end"
    return words


def at_the_end(spent: Usage, run: Run, target: int | None) -> Usage | None:
    """What it will come to if each birth that is left costs what those so far did; None before the first, after the
    last, and where nothing was spent."""
    total = (target or 0) * len(run.population)
    if not run.settled or total <= run.settled or not spent.calls:
        return None
    rate = total / run.settled
    return Usage(
        calls=round(spent.calls * rate),
        prompt_tokens=round(spent.prompt_tokens * rate),
        completion_tokens=round(spent.completion_tokens * rate),
        dollars=None if spent.dollars is None else spent.dollars * rate,
    )


def tokens_of(usage: Usage) -> int:
    """Tokens of prompts and of completions."""
    return usage.prompt_tokens + usage.completion_tokens


def in_words(usage: Usage) -> str:
    """Calls, tokens and dollars."""
    return f"{usage.calls:,} calls, {tokens_of(usage):,} tokens, {dollars(usage.dollars)}"


def dollars(amount: float | None) -> str:
    """A sum; small ones to a hundredth of a cent."""
    if amount is None:
        return "dollars unknown"
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def by(entries: Iterable[Spent], key: Callable[[Spent], str]) -> dict[str, Usage]:
    """The account's sums by whatever ``key`` says of an entry, in the order of their first entry."""
    groups: dict[str, list[Spent]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return {name: total(group) for name, group in groups.items()}
