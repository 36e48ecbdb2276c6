"""Generation 0: what luck alone does to the base, and what more training time does to it."""

from __future__ import annotations

import math

from darwin import verdicts
from darwin.events import step
from darwin.evolution import Evolution
from darwin.measure import Wanted, measure
from darwin.memory.records import TrialStatus
from darwin.sandbox import Job
from darwin.sandbox.budget import Budget, Unit

SEEDS = 5
"""Seeds of the base: the one that children are selected on, and the first ones that verdicts use, where the base's
losses are wanted anyway as long as it is the incumbent."""


@step
def measure_noise(evolution: Evolution) -> None:
    """Measure the base on ``SEEDS`` seeds, and once with half the time, and record it; once a workspace."""
    run, memory = evolution.run, evolution.memory
    if run.noise is not None:
        return
    seeds = (evolution.seeds("selection", 1)[0], *evolution.seeds("verdict", SEEDS - 1))
    evolution.screen.say(f"Measuring luck: {evolution.base.id} on {SEEDS} seeds.")
    timed = Budget.parse(run.budget).unit is Unit.SECONDS
    measure(evolution, [Wanted(evolution.base, seed) for seed in seeds])
    slope = _per_log_time(evolution) if timed else 0.0
    trials = [verdicts.find(evolution.base.trials, seed, "val", run.budget) for seed in seeds]
    known = [t for t in trials if t is not None and t.status is TrialStatus.OK]
    if len(known) < 2:
        return
    found = verdicts.noise(known, slope)
    memory.record(evolution.advanced(noise=found))
    evolution.screen.say(
        f"{evolution.base.id:14} varies by {100 * math.expm1(found.deviation):.1f} % of perplexity from seed to seed "
        f"(standard deviation, {found.df} degrees of freedom)."
    )


def _per_log_time(evolution: Evolution) -> float:
    """Nats that the base gains from e times the training time, between half its tokens and all of them."""
    run, base = evolution.run, evolution.base
    seed = evolution.seeds("selection", 1)[0]
    budget = Budget.parse(run.budget)
    half = str(Budget(budget.amount / 2, budget.unit))
    if verdicts.find(base.trials, seed, "val", half) is None:
        files = evolution.workspace.lineage.files(base.commit)
        job = Job(label=base.id, files=files, seed=seed, tokens=max(1, run.tokens // 2), budget=half)
        for _, trial in evolution.evaluate([job]):
            base = base.model_copy(update={"trials": (*base.trials, trial)})
            evolution.memory.record(base)
    less, whole = (verdicts.find(base.trials, seed, "val", b) for b in (half, run.budget))
    if less is None or whole is None or less.loss is None or whole.loss is None:
        return 0.0
    return max(0.0, (less.loss - whole.loss) / math.log(2))
