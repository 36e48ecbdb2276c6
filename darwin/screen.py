"""The screen: one plain line per event; on a terminal also what goes on now."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from darwin.curves import sparkline
from darwin.lineage import one_line
from darwin.memory import Memory
from darwin.memory.memory import describe_check, describe_verdict, percent
from darwin.memory.records import Choice, Decision, Individual, Status, Trial, TrialStatus, perplexity

PHASES = {
    "start": "starts",
    "rehearsal": "rehearses",
    "smoke": "starts",
    "train": "trains",
    "probe": "is probed",
    "judge": "is judged",
}


def safe(text: str, limit: int = 100) -> str:
    """Untrusted text as one printable line; control, direction and markup characters cannot act."""
    return one_line(text, limit)


def counted(number: int, noun: str) -> str:
    """``1 generation``, ``5 generations``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


@dataclass
class Watched:
    """A trial that runs now."""

    phase: str = "waiting"
    losses: list[float] = field(default_factory=list)


class Screen:
    """Says what happens: one line per event, and on a terminal what goes on now below them. Nothing is read back."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._lock = threading.RLock()
        self._held: list[Text] | None = None
        self._trials: dict[str, Watched] = {}
        self._births: dict[str, str] = {}
        self._status: Callable[[], Sequence[str]] = list
        self._lines: Sequence[str] = ()
        self._live = Live(
            get_renderable=self._now, console=self.console, transient=True, refresh_per_second=4
        )

    def say(self, text: str, style: str = "") -> None:
        """Print one line; while a person is at the desk it is kept until they have left."""
        line = Text(text, style=style)
        if self._live.is_started:
            self._lines = self._status()
        with self._lock:
            if self._held is not None:
                self._held.append(line)
                return
        self.console.print(line)

    @contextmanager
    def watching(self, status: Callable[[], Sequence[str]]) -> Iterator[None]:
        """On a terminal: show below the events, until left, the lines of ``status`` and the trials that run now.

        ``status`` is asked anew at each event, in the thread that says it.
        """
        self._status, self._lines = status, status()
        if not self.console.is_terminal:
            yield
            return
        with self._live:
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Give the terminal to a person's desk, from whatever thread; what is said meanwhile comes after."""
        with self._lock:
            held = self._held = []
        shown = self._live.is_started
        self._live.stop()
        try:
            with self.alone():
                yield
        finally:
            with self._lock:
                self._held = None
                for line in held:
                    self.console.print(line)
            if shown:
                self._live.start()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A screen of its own for a person's desk; what was there before comes back."""
        self.console.set_alt_screen(True)
        try:
            yield
        finally:
            self.console.set_alt_screen(False)

    def event(self, label: str, event: Mapping[str, Any]) -> None:
        """A trial has begun a phase, or its script says how far it is."""
        watched = self._trials.setdefault(label, Watched())
        if event.get("event") == "phase":
            watched.phase = str(event.get("phase"))
            watched.losses = [] if watched.phase in ("smoke", "train") else watched.losses
        elif isinstance(event.get("loss"), int | float):
            watched.losses.append(float(event["loss"]))

    def _now(self) -> Group:
        """What goes on now."""
        width = self.console.width - 1
        lines = [Text(line, style="" if number else "bold") for number, line in enumerate(self._lines)]
        for label, trial in list(self._trials.items()):
            curve = f"{sparkline(trial.losses)} {trial.losses[-1]:.3f}" if trial.losses else ""
            words = f"{label:<16} {PHASES.get(trial.phase, trial.phase):<9} {curve:<19} {self._births.get(label, '')}"
            lines.append(Text(words[:width]))
        return Group(*lines)

    def born(self, child: Individual, memory: Memory) -> None:
        """A child was written."""
        line = f"{child.id:14} {child.author} rewrites {child.owner}'s script ({child.parents[0]}): "
        self._births[child.id] = f"{child.author} on {child.owner}'s: {safe(child.subject)}"
        self.say(line + safe(child.subject))
        if child.status is Status.REFUSED:
            self.say(f"{child.id:14} refused: {safe(child.reason or '')}", "yellow")

    def measured(self, individual: Individual, trial: Trial, memory: Memory) -> None:
        """A trial ended."""
        first = len(individual.trials) == 1
        self._trials.pop(individual.id, None)
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
        person = decision.by.partition(" <")[0]
        words = {
            Choice.MERGE: f"is merged into main by {person}.",
            Choice.REJECT: f"is rejected by {person}.",
            Choice.DEFER: "waits for your decision: darwin review",
            Choice.EDIT: f"was edited by {person}: {decision.edited} is trained and judged before it can merge.",
            Choice.STALE: "was approved, but main has moved: it is judged anew and shown again.",
            Choice.REVERT: f"is taken back by {person}.",
        }
        self.say(f"{contender.id:14} {words[decision.choice]}", "bold")
        if decision.choice in (Choice.MERGE, Choice.REVERT) and not shows_main:
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
