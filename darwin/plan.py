"""What a run is going to cost, by purpose, from what the base's trials cost; and what it has cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from darwin import ablation, closing, screening
from darwin.evolution import Evolution, purpose
from darwin.memory.records import Individual, Run, Trial
from darwin.sandbox.budget import LARGER, Budget, Unit
from darwin.strategy import Strategy
from darwin.tidy import LOOSE

BYTES_PER_CHILD, PACKED_PER_CHILD = 160_000, 20_000
"""Of git objects, notes and JSON on disk, measured over a default run; of a long one whose git is packed at most (6 to
13 KB were measured)."""

STARTING = 2.5
"""CPU seconds of a trial beside training and judging: importing torch, the smoke run, counting FLOPs."""

CORRECTED = 0.4
"""Share of a time budget that a child's further training takes: runs that were stopped on their way, and second ones
because a bill was off; an estimate."""


@dataclass(frozen=True)
class Plan:
    """Trials and CPU seconds that lie ahead; the verdicts' is the most they may take."""

    children: int
    verdicts: int
    child_seconds: float
    verdict_seconds: float
    larger_seconds: float
    closing_seconds: float

    @property
    def seconds(self) -> float:
        """CPU seconds of all together."""
        return self.child_seconds + self.verdict_seconds + self.larger_seconds + self.closing_seconds


def make(evolution: Evolution, target: int) -> Plan:
    """The plan from here to ``target`` generations, if every verdict takes all it may and a champion is found."""
    run = evolution.run
    trials = [t for t in evolution.base.trials if t.budget == run.budget and t.seconds and t.split == "val"]
    training = fmean(_spent(t) for t in trials) if trials else 0.0
    judging = fmean(t.judge_seconds or 0.0 for t in trials) if trials else 0.0
    trial = training + judging + STARTING
    timed = Budget.parse(run.budget).unit is Unit.SECONDS
    child = trial + (training * CORRECTED if timed else 0.0)
    if run.search != "greedy" and (short := screening.short(run.budget)) is not None:
        child = child / 2 + training * Budget.parse(short).amount / Budget.parse(run.budget).amount + STARTING
    children = target * len(run.population) - run.settled
    taken = sum(len(i.verdict.seeds) for i in evolution.memory.judged.values() if i.verdict)
    most = max(0, 2 + target * len(run.population) // 4 - taken)
    rivals = closing_rivals(evolution)
    one_larger = LARGER * training + 2 * judging + STARTING
    larger = rivals * closing.LARGER_SEEDS * one_larger
    if Strategy.of(run).ablation:
        # A thinner champion, if one comes of it, is checked anew, on one seed more.
        doubted = ablation.most(target * len(run.population))
        larger += doubted * (one_larger + trial) + (closing.LARGER_SEEDS + 1) * one_larger
    return Plan(
        children,
        most,
        children * child,
        most * trial,
        0.0 if run.control == "reseeded" else larger,
        rivals * closing.SEEDS * trial,
    )


def closing_rivals(evolution: Evolution) -> int:
    """Scripts that the closing comparison trains at most: base, champion, and main where it is neither."""
    return 2 + (evolution.run.incumbent != evolution.base.id)


def announce(evolution: Evolution, target: int) -> None:
    """Say what lies ahead."""
    run, config = evolution.run, evolution.workspace.config
    generations = target - run.generation
    if config.approve == "ask" and evolution.desk is None:
        evolution.screen.say("No terminal to ask at: decisions are put off, as with --approve defer.")
    plan = make(evolution, target)
    lines = [
        f"{plan.children} children in {generations} generations: {plan.child_seconds:,.0f} CPU seconds",
        f"at most {plan.verdicts} trials for verdicts: {plan.verdict_seconds:,.0f}",
        f"closing comparison, {closing_rivals(evolution) * closing.SEEDS} trials: {plan.closing_seconds:,.0f}",
        f"in all at most {plan.seconds:,.0f}, beside the {run.cpu_seconds:,.0f} spent so far",
    ]
    if plan.larger_seconds:
        check = f"at most, if there is a champion, its trials at {LARGER} x {run.budget}: "
        lines.insert(2, f"{check}{plan.larger_seconds:,.0f}")
    minutes = plan.seconds / 60 / config.workers
    unpacked = LOOSE * 4096 + plan.children * PACKED_PER_CHILD
    megabytes = min(plan.children * BYTES_PER_CHILD, unpacked) / 1e6
    evolution.screen.plan(lines, minutes, config.workers, megabytes)


def spent(run: Run, individuals: Mapping[str, Individual]) -> dict[str, float]:
    """CPU seconds of trials so far, by what they were for: children, verdicts, luck (the base's own seeds), ablation,
    the larger budget, closing. What ``run.cpu_seconds`` has beyond them went into agents, git, records, spare servers.
    """
    found = dict.fromkeys(("children", "verdicts", "luck", "ablation", "larger budget", "closing"), 0.0)
    base = next(iter(individuals))
    luck = run.noise.seeds if run.noise else ()
    for individual in individuals.values():
        seen = set()
        screened = [individual.screening] if individual.screening else []
        for trial in (*individual.all_trials, *individual.superseded, *screened):
            if (trial.seed, trial.budget, trial.cpu_seconds) in seen:  # one training run, judged twice
                continue
            seen.add((trial.seed, trial.budget, trial.cpu_seconds))
            name = _PURPOSES.get(purpose(trial), purpose(trial))
            if individual.id == base and (trial.seed in luck or name == "children"):
                name = "luck"
            if individual.operator == "ablation" and name == "larger budget":
                name = "ablation"
            found[name] += trial.cpu_seconds or 0.0
    return found


_PURPOSES = {"selection": "children", "verdict": "verdicts", "larger": "larger budget"}


def _spent(trial: Trial) -> float:
    return (trial.seconds or 0.0) * (trial.slowdown or 1.0)
