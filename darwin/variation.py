"""Variation: who rewrites whose script. Pure: equal seed and records give an equal plan."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darwin.memory.records import Individual

TOURNAMENT = 2
"""Agents drawn for each tournament; the owner of the best script among them is rewritten."""


@dataclass(frozen=True)
class Birth:
    """One planned child: ``author`` rewrites the script ``target`` that ``owner`` owns."""

    id: str
    ordinal: int
    generation: int
    author: str
    owner: str
    target: str
    seed: int


def derived_seed(*parts: object) -> int:
    """A 63-bit seed from any values that print alike; a generator of its own for every purpose."""
    return random.Random("/".join(map(str, parts))).getrandbits(63)


def plan(
    population: Mapping[str, str],
    individuals: Mapping[str, Individual],
    *,
    seed: int,
    settled: int,
    count: int,
) -> list[Birth]:
    """The next ``count`` births after ``settled`` ones.

    In each generation every agent writes one child, in an order drawn anew. Its target is the winner of a
    tournament among the *other* agents' scripts: no agent rewrites its own.

    Args:
        population: agent -> id of the individual it owns (at least two agents).
        settled: births so far whose results have decided who survives.
    """
    agents = sorted(population)
    births = []
    for index in range(settled, settled + count):
        generation, turn = index // len(agents) + 1, index % len(agents)
        order = agents.copy()
        random.Random(derived_seed(seed, "order", generation)).shuffle(order)
        author = order[turn]
        rng = random.Random(derived_seed(seed, "target", index))
        rivals: Sequence[str] = [agent for agent in agents if agent != author]
        drawn = rng.sample(rivals, min(TOURNAMENT, len(rivals)))
        owner = min(drawn, key=lambda agent: individuals[population[agent]].rank)
        births.append(
            Birth(
                id=f"g{generation:03d}-{author.lower()}-1",
                ordinal=index + 1,
                generation=generation,
                author=author,
                owner=owner,
                target=population[owner],
                seed=derived_seed(seed, "author", index),
            )
        )
    return births
