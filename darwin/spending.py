"""What models have cost so far, and at this rate to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from darwin.agents.ledger import Spent, total
from darwin.evolution import Evolution
from darwin.memory.records import Usage
from darwin.repairs import shares


def announce(evolution: Evolution, target: int) -> None:
    """After a generation: calls, tokens and dollars so far, at this rate to the end; what failed, what was repaired."""
    if evolution.gateway is None:
        return
    spent = evolution.gateway.ledger.total()
    words = f"Models so far: {in_words(spent)}"
    done, left = evolution.run.settled, target * len(evolution.run.population) - evolution.run.settled
    if spent.dollars and done and left > 0:
        words += f"; at this rate {dollars(spent.dollars * (done + left) / done)} at the end"
    found = shares(evolution.memory.individuals.values())
    if found.failing:
        words += f"; {found.failing} of {found.written} children failed as first written"
        words += f", {found.repaired} of these were repaired"
    evolution.screen.say(words + ".")


def in_words(usage: Usage) -> str:
    """Calls, tokens and dollars."""
    tokens = usage.prompt_tokens + usage.completion_tokens
    return f"{usage.calls:,} calls, {tokens:,} tokens, {dollars(usage.dollars)}"


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
