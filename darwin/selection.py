"""Selection: who survives. Pure; validation loss decides, so that equal seeds give equal populations.

Under a time budget, where a clock has its say anyway, one place is held by the fastest script that is no worse than the
base.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from darwin.memory.records import Individual, Status
from darwin.strategy import GA, Strategy
from darwin.verdicts import find

FASTER = 1.05
"""Times the base's MFU from which a script is worth the place for the fastest: the clock is good to a few per cent."""

FAST_ENOUGH = 1.10
"""Times the base's MFU that the births which aim at MFU aim at; there are none once it is reached."""


def merit(individual: Individual, base: Individual, second: int | None = None) -> float:
    """Validation loss to select by; the mean of two, each against the base's, where both have the second seed."""
    if individual.loss is None:
        return math.inf
    if second is None or base.loss is None:
        return individual.loss
    budget = individual.trials[0].budget
    two = [find(i.trials, second, "val", budget) for i in (individual, base)]
    losses = [t.loss for t in two if t is not None and t.loss is not None]
    if len(losses) < 2:
        return individual.loss
    return base.loss + ((individual.loss - base.loss) + (losses[0] - losses[1])) / 2


def survivors(
    population: Mapping[str, str],
    children: Iterable[Individual],
    individuals: Mapping[str, Individual],
    *,
    strategy: Strategy = GA,
    second: int | None = None,
    fast_place: bool = False,
) -> dict[str, str]:
    """The best of parents and children, as many as there are agents (truncation selection, elitist).

    A surviving child takes the place of the worst script, where that is still worse than the child; among
    equals, the script of the agent whose script was rewritten goes first. The best is never lost.

    Args:
        population: agent -> id of the individual it owns.
        children: newborns, of which only trained ones can survive.
        individuals: every individual by id, the base first.
        second: the second seed to select on, of those that have it.
        fast_place: whether the fastest script no worse than the base has a place.
    """
    seats = dict(population)
    base = next(iter(individuals.values()))
    worth = {i: merit(individuals[i], base, second) for i in seats.values()}
    trained = [c for c in children if c.status is Status.TRAINED and c.loss is not None]
    worth |= {c.id: merit(c, base, second) for c in trained}
    for child in sorted(trained, key=lambda c: (worth[c.id], c.ordinal)):
        rival = rival_of(child, seats, worth, individuals, strategy)
        if worth[child.id] < worth[seats[rival]]:
            if strategy.search == "greedy":
                seats = dict.fromkeys(seats, child.id)
            else:
                seats[rival] = child.id
    if fast_place and strategy.search == "ga":
        candidates = [individuals[i] for i in population.values()] + trained
        fast = fastest(candidates, base, FASTER)
        if fast is not None and fast.id not in seats.values():
            place = fast.author if strategy.own_code and fast.author else _worst(seats, worth, individuals)
            seats[place] = fast.id
    return seats


def rival_of(
    child: Individual,
    seats: Mapping[str, str],
    worth: Mapping[str, float],
    individuals: Mapping[str, Individual],
    strategy: Strategy,
) -> str:
    """The agent whose place a child competes for."""
    if strategy.own_code and child.author is not None:
        return child.author
    return _worst(seats, worth, individuals, child.owner)


def _worst(
    seats: Mapping[str, str],
    worth: Mapping[str, float],
    individuals: Mapping[str, Individual],
    first: str | None = None,
) -> str:
    return max(seats, key=lambda a: (worth[seats[a]], individuals[seats[a]].ordinal, a == first, a))


def close_calls(
    population: Mapping[str, str],
    children: Iterable[Individual],
    individuals: Mapping[str, Individual],
    *,
    strategy: Strategy,
    gap: float,
) -> list[Individual]:
    """Who needs a second seed: each child less than ``gap`` nats from the script whose place it competes for, and
    that one; the base too, against which both are then held. By the first seed alone, as a killed run decides again."""
    base = next(iter(individuals.values()))
    worth = {i: merit(individuals[i], base) for i in population.values()}
    found: dict[str, Individual] = {}
    for child in children:
        if child.status is not Status.TRAINED or child.loss is None or strategy.search != "ga":
            continue
        rival = individuals[population[rival_of(child, population, worth, individuals, strategy)]]
        if abs(merit(child, base) - merit(rival, base)) < gap:
            found |= {i.id: i for i in (base, rival, child)}
    return list(found.values())


def to_speed_up(population: Mapping[str, str], individuals: Mapping[str, Individual]) -> str | None:
    """The script that births which aim at MFU rewrite: the fastest that an agent of the population ever wrote, among
    those no worse than the base, since those that survive by perplexity may all be slow. None once one is fast enough.
    """
    base = next(iter(individuals.values()))
    if fastest(individuals.values(), base, FAST_ENOUGH) is not None:
        return None
    best = fastest([i for i in individuals.values() if i.author in population], base, least=0.0)
    return None if best is None else best.id


def fastest(candidates: Iterable[Individual], base: Individual, least: float = 1.0) -> Individual | None:
    """The candidate of the greatest MFU, ``least`` times the base's or more, among those no worse than the base."""
    if base.mfu is None or base.loss is None:
        return None
    worthy = [
        (i.mfu, -i.ordinal, i)
        for i in candidates
        if i.mfu is not None and i.mfu >= least * base.mfu and i.loss is not None and i.loss <= base.loss
    ]
    return max(worthy, key=lambda one: one[:2])[2] if worthy else None
