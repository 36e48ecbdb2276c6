"""``darwin cost``: what language models have cost."""

from __future__ import annotations

from typing import Any

from darwin.agents.ledger import Spent, total
from darwin.cli import options
from darwin.memory.records import Usage
from darwin.models import limits_of, members_of, transcripts_of
from darwin.screen import Screen, safe
from darwin.spending import by, dollars, in_words
from darwin.tables import plain_table
from darwin.workspace import locate, open_workspace


def cost(workspace: options.Workspace = None, json: options.Json = False) -> None:
    """Say what models have cost, by agent, model, role and generation; from the transcripts, so failed children count.

    \b
    Examples:
      darwin cost
      darwin cost --json
    """
    folder = locate(workspace)
    opened = open_workspace(folder)
    spent = transcripts_of(folder).spent()
    limit = limits_of(members_of(opened.config, folder), opened.config.max_cost).dollars
    generation = {i.id: i.generation for i in opened.memory.individuals.values()}
    groups = {
        "agent": by(spent, lambda e: e.agent),
        "model": by(spent, lambda e: e.model),
        "role": by(spent, lambda e: e.role),
        "generation": by(spent, lambda e: _generation(e, generation)),
    }
    if json:
        found: dict[str, Any] = {"total": total(spent).model_dump(), "limit_dollars": limit}
        found |= {
            f"by_{name}": {k: u.model_dump() for k, u in group.items()} for name, group in groups.items()
        }
        options.print_json(found)
        return
    screen = Screen()
    words = f"Models so far: {in_words(total(spent))}"
    screen.say(words + (f" of at most {dollars(limit)}." if limit is not None else "."), "bold")
    for name, group in groups.items():
        table = plain_table(name, "calls", "prompt", "completion", "dollars")
        for key, usage in sorted(group.items()):
            table.add_row(*_row(key, usage))
        if group:
            screen.console.print(table)


def _row(key: str, usage: Usage) -> tuple[str, ...]:
    counts = (f"{number:,}" for number in (usage.calls, usage.prompt_tokens, usage.completion_tokens))
    return (safe(key), *counts, dollars(usage.dollars).removeprefix("dollars "))


def _generation(entry: Spent, known: dict[str, int]) -> str:
    """Of a child, from its record; by its name where it never came to be one."""
    number = known.get(entry.child)
    return str(number) if number is not None else entry.child.partition("-")[0].lstrip("g0") or "0"
