"""The screen: one plain line per event; on a terminal also a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from darwin.lineage import one_line
from darwin.memory import Memory
from darwin.memory.memory import describe_check, describe_verdict, percent
from darwin.memory.records import Choice, Decision, Individual, Status, Trial, TrialStatus, perplexity


def safe(text: str, limit: int = 100) -> str:
    """Untrusted text as one printable line; control, direction and markup characters cannot act."""
    return one_line(text, limit)


def safe_line(line: str) -> str:
    """A line of a diff with its indentation kept and nothing in it that acts on the terminal."""
    return "".join(c if c.isprintable() else "·" for c in line.replace("\t", "    "))


def counted(number: int, noun: str) -> str:
    """``1 generation``, ``5 generations``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


class Screen:
    """Says what happens. Nothing here is ever read back."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("children", total=None, visible=False)

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        self.console.print(Text(text, style=style))

    @contextmanager
    def watching(self, done: int, total: int) -> Iterator[None]:
        """Show how many of the children have been measured."""
        self._progress.update(self._task, completed=done, total=total, visible=True)
        with self._progress:
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the progress bar away while a person is asked."""
        self._progress.stop()
        try:
            yield
        finally:
            if self.console.is_terminal:
                self._progress.start()

    def born(self, child: Individual, memory: Memory) -> None:
        """A child was written."""
        line = f"{child.id:14} {child.author} rewrites {child.owner}'s script ({child.parents[0]}): "
        self.say(line + safe(child.subject))
        if child.status is Status.REFUSED:
            self.say(f"{child.id:14} refused: {safe(child.reason or '')}", "yellow")
            self._progress.advance(self._task)

    def measured(self, individual: Individual, trial: Trial, memory: Memory) -> None:
        """A trial ended."""
        first = len(individual.trials) == 1
        if first and individual.parents:
            self._progress.advance(self._task)
        name = f"{individual.id:14}"
        if trial.status is not TrialStatus.OK or trial.loss is None:
            last = (trial.error or "").strip().splitlines()[-1:] or [""]
            words = f"{trial.status.replace('_', ' ')} in its {trial.phase} phase. {safe(last[0])}"
            self.say(f"{name} {words}", "red")
            return
        words = f"perplexity {perplexity(trial.loss):.3f}"
        if first and "base" in individual.delta:
            words += f" ({percent(individual.delta['base'])} to the base)"
        elif not first:
            words += f" on {trial.split}, seed {trial.seed}, {trial.budget}"
        if trial.mfu is not None:
            words += f", MFU {trial.mfu:.1%}"
        if trial.cpu_seconds is not None:
            words += f", {trial.cpu_seconds:.0f} CPU seconds"
        better = first and individual.delta.get("parent", 0.0) < 0
        self.say(f"{name} {words}", "green" if better else "")

    def screened(self, child: Individual, trial: Trial) -> None:
        """A child's short trial ended."""
        if trial.status is not TrialStatus.OK or trial.loss is None:
            self.say(f"{child.id:14} {trial.status.replace('_', ' ')} in its {trial.phase} phase.", "red")
            return
        self.say(
            f"{child.id:14} perplexity {perplexity(trial.loss):.3f} after {trial.budget}, to be screened by"
        )

    def plan(self, lines: Sequence[str], minutes: float, workers: int, megabytes: float) -> None:
        """What lies ahead, before it starts."""
        time = f"about {minutes:.0f} min" if minutes >= 1.5 else "about a minute"
        self.say(
            f"Plan: {time} on {counted(workers, 'worker')} if each costs what the base does, {megabytes:.0f} MB; "
            "Ctrl-C keeps everything.",
            "bold",
        )
        for line in lines:
            self.say(f"  {line}")

    def generation(self, number: int, memory: Memory) -> None:
        """A generation has been measured."""
        best = min((memory.individuals[i] for i in memory.run.population.values()), key=lambda i: i.rank)
        gain = f", {percent(best.delta['base'])} to the base" if "base" in best.delta else ""
        self.say(f"Generation {number}: the best script is {best.id}{gain}.", "bold")

    def meets(self, contender: Individual, incumbent: Individual) -> None:
        """A verdict is about to be found."""
        self.say(f"{contender.id:14} meets {incumbent.id} on fresh seeds, the same for both.")

    def checked(self, champion: Individual) -> None:
        """The champion was tried at the larger budget."""
        self.say(f"{champion.id:14} {describe_check(champion)}", "bold")

    def verdict(self, contender: Individual) -> None:
        """A verdict was found."""
        self.say(f"{contender.id:14} is {describe_verdict(contender)}.", "bold")

    def decided(self, contender: Individual, decision: Decision, shows_main: bool = True) -> None:
        """A decision was taken, or put off."""
        words = {
            Choice.MERGE: f"is merged into main by {decision.by.partition(' <')[0]}.",
            Choice.REJECT: "is rejected.",
            Choice.DEFER: "waits for your decision: darwin review",
        }
        self.say(f"{contender.id:14} {words[decision.choice]}", "bold")
        if decision.choice is Choice.MERGE and not shows_main:
            self.say(
                "The files in the folder are not main's: your edits or your branch were left as they are.",
                "yellow",
            )

    def comparing(self, base: Individual, champion: Individual, seeds: int) -> None:
        """The closing comparison begins."""
        self.say(
            f"Closing comparison: {base.id} and {champion.id} on {seeds} fresh seeds and the test split.",
            "bold",
        )
