"""Measuring: trials of individuals, each recorded as soon as it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from darwin.evolution import Evolution
from darwin.memory.records import Individual, Status, Trial, TrialStatus
from darwin.sandbox import Job
from darwin.sandbox.budget import Budget, Unit
from darwin.verdicts import find

LAYOUT = "layout"
"""Operator of an individual that computes what its parent does, in other files: it trains on exactly as many tokens."""


@dataclass(frozen=True)
class Wanted:
    """A trial that is wanted: of an individual, on a seed, judged on ``splits``, at ``times`` the run's budget."""

    individual: Individual
    seed: int
    splits: tuple[str, ...] = ("val",)
    times: int = 1


def measure(evolution: Evolution, wanted: Iterable[Wanted]) -> None:
    """Run the trials that are not in memory yet; a completed one is never run again."""
    memory = evolution.memory
    jobs = []
    for one in wanted:
        individual = memory.individuals[one.individual.id]
        budget = budget_of(evolution.run.budget, one.times)
        missing = [s for s in one.splits if find(individual.trials, one.seed, s, budget) is None]
        if individual.status is not Status.REFUSED and missing:
            jobs.append(_job(evolution, individual, one, missing))
    for job, trial in evolution.evaluate(jobs):
        individual = with_trial(memory.individuals[job.label], trial, memory.individuals)
        memory.record(individual)
        keep_log(evolution, individual, trial)
        evolution.curves.keep(individual.id, trial.budget, trial.seed)
        evolution.screen.measured(individual, trial, memory)


def budget_of(budget: str, times: int) -> str:
    """A budget ``times`` as large, as the user would write it."""
    return budget if times == 1 else str(Budget.parse(budget).times(times))


def tokens_of(individual: Individual, budget: str, individuals: Mapping[str, Individual]) -> int | None:
    """The tokens that a budget buys an individual, if that was found out.

    Its first trial says so, or that of an individual with the same code: an unedited copy is no faster and no slower.
    A layout's parent says so for it.
    """
    parsed = Budget.parse(budget)
    if parsed.unit is Unit.TOKENS:
        return int(parsed.amount)
    laid = [individuals[individual.parents[0]]] if individual.operator == LAYOUT else []
    for one in (individual, *laid, *(i for i in individuals.values() if i.code == individual.code)):
        known = [t.tokens for t in one.trials if t.budget == budget and t.status is TrialStatus.OK]
        if known:
            return known[0]
    return None


def _job(evolution: Evolution, individual: Individual, wanted: Wanted, missing: list[str]) -> Job:
    run = evolution.run
    tokens = tokens_of(individual, run.budget, evolution.memory.individuals)
    return Job(
        label=individual.id,
        files=evolution.workspace.lineage.files(individual.commit),
        seed=wanted.seed,
        salt=individual.id if individual.operator == "reseeded" else "",
        tokens=None if tokens is None else tokens * wanted.times,
        budget=budget_of(run.budget, wanted.times),
        split=missing[0],
        further=tuple(missing[1:]),
        times=wanted.times,
    )


def with_trial(individual: Individual, trial: Trial, individuals: Mapping[str, Individual]) -> Individual:
    """The individual with one more trial, and with what follows from it."""
    changes: dict[str, object] = {"trials": (*individual.trials, trial)}
    if individual.status is Status.BORN:
        changes["status"] = _STATUS.get(trial.status, Status.FAILED)
        if trial.status is TrialStatus.OK and trial.loss is not None and individual.parents:
            near = {"parent": individuals[individual.parents[0]], "base": next(iter(individuals.values()))}
            changes["delta"] = {
                name: round(trial.loss - other.loss, 6)
                for name, other in near.items()
                if other.loss is not None
            }
        elif trial.status is TrialStatus.DISQUALIFIED:
            changes["reason"] = (trial.error or "").partition("\n")[0]
        elif trial.status is not TrialStatus.OK:
            changes["reason"] = f"{trial.status.replace('_', ' ')} in its {trial.phase} phase"
    return individual.model_copy(update=changes)


_STATUS = {TrialStatus.OK: Status.TRAINED, TrialStatus.DISQUALIFIED: Status.DISQUALIFIED}


def keep_log(evolution: Evolution, individual: Individual, trial: Trial) -> None:
    """Keep a failed trial's last lines beside the records."""
    if trial.error:
        folder = evolution.workspace.artifacts / individual.id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"trial-{trial.split}-{trial.seed}.log").write_text(trial.error, errors="replace")
