"""Selection: who survives. Pure; validation loss only, so that equal seeds give equal populations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from darwin.memory.records import Individual, Status


def survivors(
    population: Mapping[str, str], children: Iterable[Individual], individuals: Mapping[str, Individual]
) -> dict[str, str]:
    """The best of parents and children, as many as there are agents (truncation selection, elitist).

    A surviving child takes the place of the worst script, where that is still worse than the child; among
    equals, the script of the agent whose script was rewritten goes first. The best is never lost.

    Args:
        population: agent -> id of the individual it owns.
        children: newborns, of which only trained ones can survive.
        individuals: every individual by id.
    """
    seats = dict(population)
    trained = [c for c in children if c.status is Status.TRAINED and c.loss is not None]
    for child in sorted(trained, key=lambda c: c.rank):
        worst = max(seats, key=lambda a: (individuals[seats[a]].rank, a == child.owner, a))
        if child.rank[0] < individuals[seats[worst]].rank[0]:
            seats[worst] = child.id
    return seats
