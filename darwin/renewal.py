"""Renewal: from the next generation on, every trial has the budget that a person granted.

What was measured under the old one is kept (``earlier``), still teaches what ideas do, and is compared with nothing of
now: the base, the population and the incumbent are trained anew, luck is measured anew, and what waited for a decision
has to be proven again.

Where a run goes on under other conditions (another torch or image), what it compares with is trained anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from darwin import gate
from darwin.evolution import Evolution
from darwin.lineage import population_refs
from darwin.measure import Wanted, deltas, measure, outdated
from darwin.memory.records import Earlier, Individual
from darwin.memory.requests import Kind, State, pending
from darwin.noise import measure_noise
from darwin.sandbox.budget import Budget
from darwin.selection import survivors


def renew(evolution: Evolution) -> None:
    """Begin the granted budget, if one waits; and bring up to it what a killed run left unmeasured."""
    run, memory = evolution.run, evolution.memory
    waiting = pending(memory.requests, Kind.BUDGET)
    if waiting and run.settled == run.generation * len(run.population):
        chosen = max(waiting, key=lambda r: (Budget.parse(r.given).amount, r.id))
        outcome = f"the budget is {chosen.given} from generation {run.generation + 1} on, after {run.budget}"
        done = [r.model_copy(update={"state": State.DONE, "outcome": outcome}) for r in waiting]
        left = [_left(one, run.budget) for one in memory.individuals.values() if one.trials]
        proven = run.incumbent if run.incumbent != evolution.base.id else None
        population = _with_champion(evolution)
        changed = evolution.advanced(
            budget=chosen.given,
            budgets=(*run.budgets, run.budget),
            noise=None,
            champion=proven,
            ablated=proven,
            population=population,
        )
        memory.record(*left, *done, changed, refs=population_refs(population, memory))
        evolution.screen.say(
            f"The budget of every trial is {chosen.given} from now on; it was {run.budget}.", "bold"
        )
    if evolution.run.budgets:
        _measure_again(evolution)
    catch_up(evolution)


def catch_up(evolution: Evolution) -> None:
    """Train anew what the run compares with, where that was measured under other conditions than those of now."""
    memory, run = evolution.memory, evolution.run
    shown = [one.id for one in gate.waiting(memory)]
    names = dict.fromkeys([evolution.base.id, run.incumbent, *run.population.values(), *shown])
    if run.champion is not None:
        names[run.champion] = None
    if wanted := [one for name in names for one in outdated(evolution, memory.individuals[name])]:
        evolution.screen.say(f"Training {len(wanted)} trials anew, under the conditions of now.", "yellow")
        measure(evolution, wanted)
        _renew_deltas(evolution, names)


def _with_champion(evolution: Evolution) -> dict[str, str]:
    """The population, with the champion among it."""
    run, people = evolution.run, evolution.memory.individuals
    if run.champion is None or run.champion in run.population.values():
        return dict(run.population)
    return survivors(run.population, [people[run.champion]], people)


def _left(one: Individual, budget: str) -> Individual:
    """An individual with what was found under a budget that is left."""
    found = Earlier(budget=budget, trials=one.trials, verdict=one.verdict, larger=one.larger)
    return one.model_copy(
        update={"earlier": (*one.earlier, found), "trials": (), "verdict": None, "larger": None}
    )


def _measure_again(evolution: Evolution) -> None:
    """Train the base, the incumbent and the population under the present budget, as far as that is not done."""
    memory, run = evolution.memory, evolution.run
    seed = evolution.seeds("selection", 1)[0]
    measure(evolution, [Wanted(evolution.base, seed)])
    if evolution.base.trials and evolution.base.trials[0].tokens != run.tokens:
        memory.record(evolution.advanced(tokens=evolution.base.trials[0].tokens))
    measure_noise(evolution)
    wanted = dict.fromkeys([run.incumbent, *run.population.values()])
    measure(evolution, [Wanted(memory.individuals[one], seed) for one in wanted])
    _renew_deltas(evolution, wanted)


def _renew_deltas(evolution: Evolution, names: Iterable[str]) -> None:
    """Write down what the present losses differ by; earlier differences stay where there are none of now."""
    memory = evolution.memory
    for name in names:
        one = memory.individuals[name]
        delta = {} if one.loss is None else deltas(one, one.trials[0], memory.individuals)
        if not one.delta.items() >= delta.items():
            memory.record(one.model_copy(update={"delta": {**one.delta, **delta}}))
