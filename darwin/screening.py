"""Screening: with a large time budget, a short trial first, and a whole one only for the better half of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from darwin.events import step
from darwin.evolution import Evolution
from darwin.measure import keep_log
from darwin.memory.records import Individual, Status, Trial, TrialStatus
from darwin.sandbox import Job
from darwin.sandbox.budget import Budget, Unit

FROM = 60.0
"""Seconds of budget from which children are screened: below, starting a trial costs more than screening saves."""

SHARE, LEAST = 0.15, 10.0
"""Share of the budget that a screening trial gets, and the seconds that it gets at least; the script's own schedule
scales with its tokens."""


def short(budget: str) -> str | None:
    """The budget of a screening trial; None where children are not screened."""
    whole = Budget.parse(budget)
    if whole.unit is not Unit.SECONDS or whole.amount < FROM:
        return None
    return str(Budget(max(LEAST, SHARE * whole.amount), Unit.SECONDS))


@step
def promoted(evolution: Evolution, children: Sequence[Individual]) -> list[Individual]:
    """The children that get a whole trial: all of them, or the better half after a short one each, recorded with them.

    What was screened already is not screened again.
    """
    memory, budget = evolution.memory, short(evolution.run.budget)
    if budget is None or len(children) < 2:
        return list(children)
    seed = evolution.seeds("selection", 1)[0]
    jobs = [
        Job(child.id, evolution.workspace.lineage.files(child.commit), seed, None, budget)
        for child in children
        if child.status is Status.BORN and child.screening is None
    ]
    for job, trial in evolution.evaluate(jobs):
        child = screened(memory.individuals[job.label], trial)
        memory.record(child)
        keep_log(evolution, child, trial)
        evolution.screen.screened(child, trial)
    found = [memory.individuals[child.id] for child in children]
    in_order = sorted((c for c in found if _loss(c) < math.inf), key=lambda c: (_loss(c), c.ordinal))
    whole = {child.id for child in in_order[: math.ceil(len(children) / 2)]}
    for child in found:
        if child.status is Status.BORN and child.id not in whole:
            reason = f"{math.ceil(len(children) / 2)} of {len(children)} were promoted after {budget}, and it was not"
            memory.record(child.model_copy(update={"status": Status.SCREENED, "reason": reason}))
    return [memory.individuals[child.id] for child in found if child.id in whole]


def screened(child: Individual, trial: Trial) -> Individual:
    """The child with its screening trial; it has failed if that did."""
    changes: dict[str, object] = {"screening": trial}
    if trial.status is TrialStatus.DISQUALIFIED:
        changes |= {"status": Status.DISQUALIFIED, "reason": (trial.error or "").partition("\n")[0]}
    elif trial.status is not TrialStatus.OK or trial.loss is None:
        reason = f"{trial.status.replace('_', ' ')} in its {trial.phase} phase"
        changes |= {"status": Status.FAILED, "reason": reason}
    return child.model_copy(update=changes)


def _loss(child: Individual) -> float:
    loss = child.screening.loss if child.screening else None
    return math.inf if loss is None or child.status in (Status.FAILED, Status.DISQUALIFIED) else loss
