"""The end of a run as a person reads it: the comparison, what it is made of, what failed, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.text import Text

from darwin.evolution import Evolution
from darwin.gate import waiting
from darwin.headline import headline
from darwin.memory import Memory
from darwin.memory.records import Comparison
from darwin.memory.requests import waiting as unanswered
from darwin.spending import in_words
from darwin.tables import show_comparison, show_summary

NEXT = 3
"""Commands that the end of a run names."""


def show_end(evolution: Evolution, comparison: Comparison | None) -> None:
    """Base, main and champion, what the best script is made of, what it all cost, what to do next."""
    screen, memory = evolution.screen, evolution.memory
    if comparison is None:
        screen.say("There is no closing comparison.", "yellow")
    else:
        screen.say("")
        show_comparison(screen, comparison, memory)
    show_summary(screen, memory)
    if evolution.gateway is not None:
        screen.say(f"Models in all: {in_words(evolution.gateway.ledger.total())}.  darwin cost")
    screen.say(headline(memory), "bold")
    for number, (what, command) in enumerate(next_commands(memory, evolution.workspace.folder, comparison)):
        line = Text(f"{what + ':':24}{command}", style="" if number else "bold")
        screen.console.print(line, soft_wrap=True)  # a command that is copied has no line breaks in it


def next_commands(memory: Memory, folder: Path, comparison: Comparison | None) -> list[tuple[str, str]]:
    """What to do next: three commands, the most urgent first, each with what it is for."""
    where = f"-C {shlex.quote(str(folder))}"
    found = []
    if waiting(memory):
        found.append(("To merge or reject it", f"darwin review {where}"))
    elif comparison is not None:
        found.append(("What was changed", f"darwin show {comparison.champion} --diff {where}"))
    if unanswered(memory.requests):
        found.append(("What agents ask for", f"darwin requests {where}"))
    found.append(("The whole story", f"darwin report {where}"))
    found.append(("To go on", f"darwin evolve -g +5 {where}"))
    found.append(("The family tree", f"git {where} log --graph --all --notes=darwin"))
    return found[:NEXT]
