"""One evolution under way: the workspace with everything its steps need."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from darwin.agents import Agent
from darwin.agents.gateway import Gateway
from darwin.agents.novelty import Changes
from darwin.curves import Curves
from darwin.desk import Desk
from darwin.events import Events
from darwin.memory import Memory
from darwin.memory.records import Individual, Run, Trial
from darwin.reviewers import Reviewer
from darwin.sandbox import Job
from darwin.sandbox.budget import Budget, Unit
from darwin.screen import Screen
from darwin.workspace import Workspace

Evaluate = Callable[[Sequence[Job]], Iterator[tuple[Job, Trial]]]
"""Runs trials and yields each as it ends; everything but the jobs is already bound."""

SEEDS = {"selection": 1, "verdict": 100, "closing": 200, "larger": 300, "ablation": 400}
"""First trial seed of each purpose, of the thousand that belong to one evolution's seed: closing seeds and those of the
larger budget choose nothing, and no verdict is given on the seed that picked the contender."""


def purpose(trial: Trial) -> str:
    """What a trial was for, by its seed: a key of ``SEEDS``."""
    return max((name for name in SEEDS if SEEDS[name] <= trial.seed % 1000), key=SEEDS.__getitem__)


Smoke = Callable[[Job], Trial]
"""Runs the smoke phase alone: whether a script begins to train, and its last words where it does not."""


class Agents(Protocol):
    """The population's agents by name."""

    def __getitem__(self, name: str) -> Agent: ...

    def values(self) -> Iterable[Agent]: ...


@dataclass
class Evolution:
    """What the steps of the loop share."""

    workspace: Workspace
    agents: Agents
    evaluate: Evaluate
    reviewer: Reviewer
    screen: Screen
    curves: Curves
    notify: Callable[[str, str], None] = lambda event, text: None
    """Told of what a person may want to know: an event of ``notify.py``, and a sentence."""
    desk: Desk | None = None
    """Where a person is asked at the end of the run; None without a terminal, or where nobody wants to be asked."""
    before_asking: Callable[[], None] = lambda: None
    """Called before the desk takes the terminal in the run's own thread."""
    elsewhere: Callable[[], float] = lambda: 0.0
    """CPU seconds so far of what is no child of this process: containers."""
    smoke: Smoke | None = None
    gateway: Gateway | None = None
    """The way to models; None where no agent asks one."""
    deadline: float | None = None
    events: Events = field(default_factory=Events)
    """What is written down of each step, and where the time goes."""
    cut_short: bool = False
    """Whether the run stopped before all generations were complete, and not because a person said so."""
    main_moved: str = ""
    """Why decisions wait although they were taken, as it was last said: somebody else has moved ``main``."""
    conditions: str | None = None
    """Torch, threads, device and image of this run's trials; those of another run's may differ."""
    packages: Callable[[], str | None] = lambda: None
    """The digest of the granted packages that trials have by now (``Trial.packages``)."""
    retrained: set[tuple[str, int, str, str]] | None = None
    """With ``--retrain``: the trials (individual, seed, split, budget) that this run has trained anew; else None."""
    changed: dict[tuple[str, str], Changes] = field(default_factory=dict)
    """What rewrites changed, by the commits of parent and child: read once, as a briefing has many."""
    _cpu_seen: float = field(init=False)

    def __post_init__(self) -> None:
        self._cpu_seen = cpu_seconds() + self.elsewhere()

    @property
    def memory(self) -> Memory:
        """All records."""
        return self.workspace.memory

    @property
    def run(self) -> Run:
        """The run's state."""
        return self.memory.run

    @property
    def base(self) -> Individual:
        """The ancestor."""
        return self.memory.resolve("base")

    @property
    def timed(self) -> bool:
        """Whether the budget is a time, and so a clock has its say in how many tokens a script trains on."""
        return Budget.parse(self.run.budget).unit is Unit.SECONDS

    def seeds(self, purpose: str, count: int) -> tuple[int, ...]:
        """Trial seeds of a purpose (a key of ``SEEDS``); equal ones are paired."""
        first = self.run.seed * 1000 + SEEDS[purpose]
        return tuple(range(first, first + count))

    def advanced(self, **changes: Any) -> Run:
        """The run's state with changes, and with the seconds spent since the last time."""
        now = cpu_seconds() + self.elsewhere()
        spent, self._cpu_seen = now - self._cpu_seen, now
        seconds = dict(self.run.seconds)
        for kind, more in self.events.taken().items():
            seconds[kind] = round(seconds.get(kind, 0.0) + more, 3)
        passed = {"cpu_seconds": round(self.run.cpu_seconds + spent, 3), "seconds": seconds}
        return self.run.model_copy(update={**passed, **changes})

    def out_of_time(self) -> bool:
        """Whether ``--for`` has run out."""
        return self.deadline is not None and time.monotonic() > self.deadline


def cpu_seconds() -> float:
    """CPU seconds of this process and all its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)
