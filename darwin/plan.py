"""The plan: what a run is going to cost, phase by phase, from what the base's trials cost; printed before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from darwin import ablation, closing, screening
from darwin.evolution import Evolution
from darwin.memory.records import Trial
from darwin.reviewers import Defer
from darwin.sandbox.budget import LARGER, Budget, Unit
from darwin.strategy import Strategy

THINNING = ablation.PAIRS * (1 + ablation.MOST)
"""Trials at the larger budget that thinning a champion takes at most."""

BYTES_PER_CHILD = 160_000
"""Of git objects, notes and JSON on disk, measured over a default run; for the plan."""

STARTING = 2.5
"""CPU seconds of a trial beside training and judging: importing torch, the smoke run, counting FLOPs."""

REHEARSED = 0.16
"""Share of a time budget that finding the tokens takes: the rehearsal, and the base's steps beside it."""

CORRECTED = 0.3
"""Share of children, under a time budget, that are trained a second time because their bill was off; an estimate."""


@dataclass(frozen=True)
class Plan:
    """Trials and CPU seconds that lie ahead; the verdicts' is the most they may take."""

    children: int
    verdicts: int
    child_seconds: float
    verdict_seconds: float
    closing_seconds: float

    @property
    def seconds(self) -> float:
        """CPU seconds of all together."""
        return self.child_seconds + self.verdict_seconds + self.closing_seconds


def make(evolution: Evolution, target: int) -> Plan:
    """The plan from here to ``target`` generations, if every verdict takes all it may and a champion is found."""
    run = evolution.run
    trials = [t for t in evolution.base.trials if t.budget == run.budget and t.seconds and t.split == "val"]
    training = fmean(_spent(t) for t in trials) if trials else 0.0
    judging = fmean(t.judge_seconds or 0.0 for t in trials) if trials else 0.0
    trial = training + judging + STARTING
    timed = Budget.parse(run.budget).unit is Unit.SECONDS
    child = trial + (training * (CORRECTED + REHEARSED) if timed else 0.0)
    if run.search != "greedy" and (short := screening.short(run.budget)) is not None:
        child = child / 2 + training * Budget.parse(short).amount / Budget.parse(run.budget).amount + STARTING
    children = target * len(run.population) - run.settled
    spent = sum(len(i.verdict.seeds) for i in evolution.memory.individuals.values() if i.verdict)
    most = max(0, 2 + target * len(run.population) // 4 - spent)
    ending = 2 * closing.SEEDS * trial
    if run.control != "reseeded":
        ending += 2 * closing.LARGER_SEEDS * (LARGER * training + 2 * judging + STARTING)
    if Strategy.of(run).ablation:
        ending += THINNING * (LARGER * training + judging + STARTING) + ablation.MOST * trial
    return Plan(children, most, children * child, most * trial, ending)


def announce(evolution: Evolution, target: int) -> None:
    """Say what lies ahead."""
    run, config = evolution.run, evolution.workspace.config
    generations = target - run.generation
    if config.approve == "ask" and isinstance(evolution.reviewer, Defer):
        evolution.screen.say("No terminal to ask at: decisions are put off, as with --approve defer.")
    plan = make(evolution, target)
    larger = (
        ""
        if run.control == "reseeded"
        else f" and {2 * closing.LARGER_SEEDS} at {LARGER} x {run.budget} if there is a champion"
        + f", up to {THINNING} more to thin it" * Strategy.of(run).ablation
    )
    already = run.cpu_seconds
    lines = [
        f"{plan.children} children in {generations} generations: {plan.child_seconds:,.0f} CPU seconds",
        f"at most {plan.verdicts} trials for verdicts: {plan.verdict_seconds:,.0f}",
        f"closing, {2 * closing.SEEDS} trials{larger}: {plan.closing_seconds:,.0f}",
        f"in all at most {plan.seconds:,.0f}, beside the {already:,.0f} spent so far",
    ]
    minutes = plan.seconds / 60 / config.workers
    megabytes = plan.children * BYTES_PER_CHILD / 1e6
    evolution.screen.plan(lines, minutes, config.workers, megabytes)


def _spent(trial: Trial) -> float:
    return (trial.seconds or 0.0) * (trial.slowdown or 1.0)
