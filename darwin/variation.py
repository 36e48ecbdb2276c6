"""Variation: who rewrites whose script. Pure: equal seed and records give an equal plan."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darwin.memory.effects import Change, Effects, features
from darwin.memory.records import Individual, Status
from darwin.strategy import GA, Strategy

TOURNAMENT = 4
"""Agents drawn for each tournament; the owner of the best script among them is rewritten."""

ARCHIVE, ARCHIVE_STUCK = 0.05, 0.25
"""Chance that a script outside of the population is rewritten, and after a generation without a new survivor."""

STEEPNESS = 10.0
"""How fast an archived script's chance grows with its lead over the archive's median, per nat."""

PARTNERS, CANDIDATES = 4, 60
"""Partners that a crossover may try, and the best scripts they are looked for among."""


@dataclass(frozen=True)
class Birth:
    """One planned child: ``author`` rewrites the script ``target`` that ``owner`` owns.

    Where there are ``partners``, the child is the merge of the target with the first of them that can be merged with
    it. ``aim`` is what its author aims at: perplexity or mfu.
    """

    id: str
    ordinal: int
    generation: int
    author: str
    owner: str
    target: str
    seed: int
    partners: tuple[str, ...] = ()
    aim: str = "perplexity"


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
    strategy: Strategy = GA,
    effects: Effects | None = None,
    fastest: str | None = None,
    has: Mapping[str, Change] | None = None,
) -> list[Birth]:
    """The next ``count`` births after ``settled`` ones.

    In each generation every agent writes one child, in an order drawn anew. Its target is the winner of a
    tournament among the *other* agents' scripts: no agent rewrites its own. Now and then it is a script outside of the
    population. The last birth of each generation but the first is a crossover; the one before it rewrites ``fastest``,
    if that is given, and aims at MFU.

    Args:
        population: agent -> id of the individual it owns (at least two agents).
        settled: births so far whose results have decided who survives.
        effects: what ideas are expected to do, to choose partners by; without it there is no crossover.
        has: ``features`` of the individuals, where it is at hand.
    """
    agents = sorted(population)
    births = []
    for index in range(settled, settled + count):
        generation, turn = index // len(agents) + 1, index % len(agents)
        order = agents.copy()
        random.Random(derived_seed(seed, "order", generation)).shuffle(order)
        author = order[turn]
        rng = random.Random(derived_seed(seed, "target", index))
        partners: tuple[str, ...] = ()
        aim = "perplexity"
        owner, target = _parent(author, population, individuals, generation, strategy, rng)
        if strategy.crossover and effects is not None and turn == len(agents) - 1 and generation > 1:
            best = min((a for a in agents if a != author), key=lambda a: (individuals[population[a]].rank, a))
            partners = partners_of(population[best], individuals, effects, has)
            if partners:
                owner, target = best, population[best]
        elif fastest is not None and turn == len(agents) - 2:
            written = individuals[fastest].author
            holders = [a for a in agents if population[a] == fastest and a != author]
            if holders or written not in (None, author):
                owner, target, aim = (holders[0] if holders else str(written)), fastest, "mfu"
        births.append(
            Birth(
                id=f"g{generation:03d}-{author.lower()}-1",
                ordinal=index + 1,
                generation=generation,
                author=author,
                owner=owner,
                target=target,
                seed=derived_seed(seed, "author", index),
                partners=partners,
                aim=aim,
            )
        )
    return births


def _parent(
    author: str,
    population: Mapping[str, str],
    individuals: Mapping[str, Individual],
    generation: int,
    strategy: Strategy,
    rng: random.Random,
) -> tuple[str, str]:
    """(owner, id) of the script that an author rewrites; whoever wrote a script outside of the population owns it."""
    if strategy.own_code:
        return author, population[author]
    rivals = sorted(agent for agent in population if agent != author)
    drawn = rng.sample(rivals, min(TOURNAMENT, len(rivals)))
    owner = min(drawn, key=lambda agent: individuals[population[agent]].rank)
    if strategy.search == "proposals":
        return owner, _first(individuals)
    if strategy.search == "random":
        written = [i for i in _trained(individuals) if i.author != author]
        chosen = rng.choice([None, *written])
        return (owner, _first(individuals)) if chosen is None else (str(chosen.author), chosen.id)
    if strategy.archive:
        stuck = generation > 1 and not any(
            individuals[i].generation == generation - 1 for i in population.values()
        )
        archived = [
            i for i in _trained(individuals) if i.author != author and i.id not in population.values()
        ]
        if rng.random() < (ARCHIVE_STUCK if stuck else ARCHIVE) and archived:
            chosen = rng.choices(archived, _archive_weights(archived, individuals))[0]
            return str(chosen.author), chosen.id
    return owner, population[owner]


def _first(individuals: Mapping[str, Individual]) -> str:
    return next(iter(individuals))


def _trained(individuals: Mapping[str, Individual]) -> list[Individual]:
    """Children with a loss, in order of birth; those that an ablation made have no author and are no parents."""
    return [
        i
        for i in individuals.values()
        if i.status is Status.TRAINED and i.loss is not None and i.author is not None and i.parents
    ]


def _archive_weights(archived: Sequence[Individual], individuals: Mapping[str, Individual]) -> list[float]:
    """Better than the median of the archive is likelier, and who has many children already is not (DGM's rule)."""
    losses = sorted(i.rank[0] for i in archived)
    median = losses[len(losses) // 2]
    children: dict[str, int] = {}
    for individual in individuals.values():
        for parent in individual.parents:
            children[parent] = children.get(parent, 0) + 1
    return [
        1 / (1 + math.exp(min(50.0, STEEPNESS * (i.rank[0] - median)))) / (1 + children.get(i.id, 0))
        for i in archived
    ]


def partners_of(
    target: str,
    individuals: Mapping[str, Individual],
    effects: Effects,
    has: Mapping[str, Change] | None = None,
) -> tuple[str, ...]:
    """Whom to merge with a target, the most complementary first: by what its ideas would do to the target at the long
    horizon. Who would add nothing, only harm, or what makes a set of ideas that is known already, is left out."""
    has = has or features(individuals.values())
    mine, base = individuals[target], individuals[_first(individuals)]
    gain = (base.loss or 0.0) - (mine.loss if mine.loss is not None else math.inf)
    known = {frozenset(ideas.items()) for ideas in has.values()}
    found = []
    for other in heapq.nsmallest(CANDIDATES, _trained(individuals), key=lambda i: i.rank):
        brought = {idea: amount for idea, amount in has[other.id].items() if idea not in has[target]}
        if not brought or frozenset({**has[target], **brought}.items()) in known:
            continue
        promise = effects.of(brought, has[target], gain).long
        if promise < 0:
            found.append((promise, other.ordinal, other.id))
    return tuple(id for _, _, id in sorted(found)[:PARTNERS])
