"""Reviewers: who decides at the gate. One seam, three providers."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console, Group
from rich.syntax import Syntax
from rich.text import Text

from darwin.gate import Answer, Case
from darwin.memory.memory import describe_check, describe_verdict
from darwin.memory.records import Choice
from darwin.screen import Screen, safe, safe_line
from darwin.tables import numbers

LONGEST_DIFF = 200
"""Lines of a diff shown before the question; ``git diff`` shows all."""


class Reviewer(Protocol):
    """Whoever decides on a contender."""

    def review(self, case: Case) -> Answer:
        """Decide: merge, reject or defer, with a reason."""
        ...


class Auto:
    """Merges every contender that is proven better."""

    def review(self, case: Case) -> Answer:
        return Answer(Choice.MERGE, "darwin <darwin@agents.invalid>", "Approved by --approve auto.")


class Defer:
    """Leaves every decision open for ``darwin review``."""

    def review(self, case: Case) -> Answer:
        return Answer(Choice.DEFER, "nobody yet")


class Terminal:
    """Asks the person at the terminal. Enter, Ctrl-C and Ctrl-D leave the decision open."""

    def __init__(self, screen: Screen, person: str) -> None:
        self._screen = screen
        self._person = person

    def review(self, case: Case) -> Answer:
        with self._screen.paused():
            console = self._screen.console
            console.print(present(case))
            return self._ask(console)

    def _ask(self, console: Console) -> Answer:
        while True:
            try:
                key = (
                    console.input(Text("Merge this into main? [y]es, [n]o, Enter for later: "))
                    .strip()
                    .lower()
                )
                if key in ("", "l", "later"):
                    return Answer(Choice.DEFER, self._person)
                if key in ("y", "yes"):
                    return Answer(Choice.MERGE, self._person, safe(console.input("Why (may be empty): ")))
                if key in ("n", "no"):
                    return Answer(Choice.REJECT, self._person, safe(console.input("Why not: ")))
            except (EOFError, KeyboardInterrupt):
                console.print()
                return Answer(Choice.DEFER, self._person)
            console.print('Write "y" or "n", or press Enter to decide later with: darwin review')


def present(case: Case) -> Group:
    """A case for a person: who changed what and why, the diff, and the numbers."""
    contender = case.contender
    lines = case.diff.splitlines()
    shown = "\n".join(safe_line(line) for line in lines[:LONGEST_DIFF])
    parts: list[Text | Syntax | Group] = [
        Text(f"\n{contender.id} by {contender.author}: {safe(contender.subject)}", style="bold"),
        Text(f"Hypothesis: {safe(contender.hypothesis, 500)}"),
        Syntax(shown, "diff", theme="ansi_dark", background_color="default", word_wrap=True),
    ]
    if len(lines) > LONGEST_DIFF:
        parts.append(Text(f"... {len(lines) - LONGEST_DIFF} more lines: darwin show {contender.id} --diff"))
    parts.append(Group(numbers(case.base, case.incumbent, contender)))
    parts.append(Text(f"It is {describe_verdict(contender)}."))
    faded = contender.larger is not None and contender.larger.fades
    parts.append(Text(describe_check(contender), style="red" if faded else ""))
    return Group(*parts)
