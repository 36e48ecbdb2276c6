"""Measuring: trials of individuals, each recorded as soon as it ends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from darwin.events import step
from darwin.evolution import Evolution, purpose
from darwin.memory.records import Individual, Run, Status, Trial, TrialStatus
from darwin.sandbox import Job
from darwin.sandbox.budget import Budget, Unit
from darwin.verdicts import find, pooled

LAYOUT = "layout"
"""Operator of an individual that computes what its parent does, in other files: it trains on exactly as many tokens."""


@dataclass(frozen=True)
class Wanted:
    """A trial that is wanted: of an individual, on a seed, judged on ``splits``, at ``times`` the run's budget."""

    individual: Individual
    seed: int
    splits: tuple[str, ...] = ("val",)
    times: int = 1


@step
def measure(evolution: Evolution, wanted: Iterable[Wanted]) -> None:
    """Run the trials that are not in memory yet; a completed one is never run again, but once with ``--retrain``.

    A trial that was run under other conditions (torch, threads, device, image) is another trial. What was trained
    before, of the same files under the same conditions, is taken from there.
    """
    memory = evolution.memory
    jobs = []
    for one in wanted:
        individual = memory.individuals[one.individual.id]
        budget = budget_of(evolution.run.budget, one.times)
        missing = [s for s in one.splits if _is_wanted(evolution, individual, one.seed, s, budget)]
        if individual.status is Status.REFUSED or not missing:
            continue
        same = [_same(evolution, individual, one.seed, split, budget) for split in missing]
        known = [trial for trial in same if trial is not None]
        if evolution.retrained is None and len(known) == len(missing):
            _keep(evolution, individual.id, known)
            continue
        jobs.append(_job(evolution, individual, one, missing))
    together: list[Trial] = []  # one training judged on several splits is known whole or not at all
    for job, trial in evolution.evaluate(jobs):
        together.append(trial)
        if len(together) > len(job.further) or trial.status is not TrialStatus.OK:
            _keep(evolution, job.label, together)
            together = []


def _is_wanted(evolution: Evolution, individual: Individual, seed: int, split: str, budget: str) -> bool:
    """Whether a trial is not known, or known and still to be trained anew in this run."""
    fresh = evolution.retrained
    if fresh is not None and (individual.id, seed, split, budget) not in fresh:
        return True
    known = find(individual.trials, seed, split, budget)
    return known is None or not known.under(evolution.conditions)


def outdated(evolution: Evolution, individual: Individual) -> list[Wanted]:
    """The trials that an individual was selected and judged by, as far as they were run under other conditions than
    those of now: nothing new can be held against them."""
    return [
        Wanted(individual, trial.seed)
        for trial in individual.trials
        if (trial.split, trial.budget) == ("val", evolution.run.budget)
        and purpose(trial) in ("selection", "verdict")
        and not trial.under(evolution.conditions)
    ]


def _same(evolution: Evolution, individual: Individual, seed: int, split: str, budget: str) -> Trial | None:
    """A trial of another individual that ran the same files on the same data, seed and tokens under the same
    conditions: it came to what this one would come to. None where there is none; salted copies are meant to differ."""
    if individual.operator == "reseeded":
        return None
    tokens = tokens_of(individual, budget, evolution.memory.individuals)
    alike = (evolution.conditions, evolution.packages())
    for other in evolution.memory.individuals.values():
        if other.tree != individual.tree or other.id == individual.id or other.operator == "reseeded":
            continue
        trial = find(other.trials, seed, split, budget)
        if trial is None or trial.loss is None or tokens not in (None, trial.tokens):
            continue
        if (trial.conditions, trial.packages) == alike:
            return trial.model_copy(update={"taken_from": other.id, "cpu_seconds": 0.0})
    return None


def _keep(evolution: Evolution, identifier: str, trials: Sequence[Trial]) -> None:
    """Record trials, then say so."""
    memory = evolution.memory
    individual = memory.individuals[identifier]
    for trial in trials:
        individual = with_trial(individual, trial, memory.individuals)
    memory.record(individual)
    for trial in trials:
        if evolution.retrained is not None:
            evolution.retrained.add((identifier, trial.seed, trial.split, trial.budget))
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


def tokens_for(
    individual: Individual, run: Run, times: int, individuals: Mapping[str, Individual]
) -> int | None:
    """The tokens of a trial, if they can be known. A larger budget's follow at first from all bills of the same code:
    one of them may be 5 % off, and that would be so much training more or less where it counts most."""
    known = tokens_of(individual, budget_of(run.budget, times), individuals)
    return known if known is not None else by_all_bills(individual, run, individuals, times)


def by_all_bills(
    individual: Individual, run: Run, individuals: Mapping[str, Individual], times: int = 1
) -> int | None:
    """The tokens that ``times`` the run's budget buys an individual by the mean of all bills of its code."""
    tokens = tokens_of(individual, run.budget, individuals)
    if tokens is None:
        return None
    bills = [
        t.seconds for one in individuals.values() if one.code == individual.code for t in one.trials
        if t.budget == run.budget and t.tokens == tokens and t.seconds is not None and t.slowdown is not None
    ]  # fmt: skip
    share = Budget.parse(run.budget).amount / fmean(bills) if bills else 1.0
    return round(tokens * times * share)


def bill_deviation(run: Run, individuals: Iterable[Individual]) -> float:
    """By how much bills of equal work differ on this machine: the deviation of their logarithms, pooled over all
    scripts that were trained more than once on the run's budget; 0 where none was yet."""
    bills = [
        {
            t.seed: math.log(t.seconds / t.tokens) for t in individual.trials
            if t.budget == run.budget and t.seconds and t.slowdown is not None
        }
        for individual in individuals
    ]  # fmt: skip
    found = pooled(tuple(of_one.values()) for of_one in bills)
    return found.deviation if found.df else 0.0


def _job(evolution: Evolution, individual: Individual, wanted: Wanted, missing: list[str]) -> Job:
    run, individuals = evolution.run, evolution.memory.individuals
    tokens = tokens_for(individual, run, wanted.times, individuals)
    parent = individuals[individual.parents[0]] if tokens is None and individual.parents else None
    return Job(
        label=individual.id,
        files=evolution.workspace.lineage.files(individual.commit),
        seed=wanted.seed,
        salt=individual.id if individual.operator == "reseeded" else "",
        tokens=tokens,
        parent_tokens=None if parent is None else by_all_bills(parent, run, individuals),
        bill_deviation=0.0 if parent is None else bill_deviation(run, individuals.values()),
        budget=budget_of(run.budget, wanted.times),
        split=missing[0],
        further=tuple(missing[1:]),
        times=wanted.times,
    )


def with_trial(individual: Individual, trial: Trial, individuals: Mapping[str, Individual]) -> Individual:
    """The individual with one more trial, or with one in the place of the same one before, and what follows from it."""
    earlier = find(individual.trials, trial.seed, trial.split, trial.budget)
    changes: dict[str, object] = {"trials": (*individual.trials, trial)}
    if earlier is not None:
        changes["trials"] = tuple(trial if one is earlier else one for one in individual.trials)
        changes["superseded"] = (*individual.superseded, earlier)
    if individual.status is Status.BORN or (earlier is not None and earlier is individual.trials[0]):
        changes["status"] = _STATUS.get(trial.status, Status.FAILED)
        if trial.status is TrialStatus.OK and trial.loss is not None:
            changes["delta"] = deltas(individual, trial, individuals)
    if individual.status is Status.BORN or (individual.parents and trial.status is not TrialStatus.OK):
        changes |= _fallen(individual, trial)
    return individual.model_copy(update=changes)


def deltas(individual: Individual, trial: Trial, individuals: Mapping[str, Individual]) -> dict[str, float]:
    """What its first trial's loss is more than the parent's and the base's, in nats, as far as those have one that
    was measured under the same conditions."""
    if not individual.parents or trial.loss is None:
        return {}
    near = {"parent": individuals[individual.parents[0]], "base": next(iter(individuals.values()))}
    return {
        name: round(trial.loss - other.loss, 6)
        for name, other in near.items()
        if other.loss is not None and other.trials[0].under(trial.conditions)
    }


def _fallen(individual: Individual, trial: Trial) -> dict[str, object]:
    """What a trial that was not ok does to an individual, whatever its earlier ones came to.

    A cheat found on any seed, split or budget is a cheat. Who fails on a later seed at the run's own budget has
    failed: else a script could fail wherever it is unlucky, and be judged by its luck.
    """
    if trial.status is TrialStatus.DISQUALIFIED:
        return {"status": Status.DISQUALIFIED, "reason": (trial.error or "").partition("\n")[0]}
    first = individual.trials[0] if individual.trials else trial
    if trial.status is TrialStatus.OK or trial.budget != first.budget or trial.split != first.split:
        return {}
    seed = f" on seed {trial.seed}" if individual.trials else ""
    reason = f"{trial.status.replace('_', ' ')} in its {trial.phase} phase{seed}"
    return {"status": Status.FAILED, "reason": reason}


_STATUS = {TrialStatus.OK: Status.TRAINED, TrialStatus.DISQUALIFIED: Status.DISQUALIFIED}


def keep_log(evolution: Evolution, individual: Individual, trial: Trial) -> None:
    """Keep a failed trial's last lines beside the records."""
    if trial.error:
        folder = evolution.workspace.artifacts / individual.id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"trial-{trial.split}-{trial.seed}.log").write_text(trial.error, errors="replace")
