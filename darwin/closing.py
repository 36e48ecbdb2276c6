"""The end of a run: the champion at a larger budget, and the closing comparison on what chose nothing.

The runs at the larger budget are trained once and judged twice: on the validation split for the check that the gate
shows, on the test split for the comparison. The check chooses nobody, so the test numbers of those runs are as fresh as
if they had been trained again, at half the price; they are not a second, independent confirmation of the check. An
ablation meets the champion on the first of those seeds; a champion that comes of one is checked on later ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from darwin import verdicts
from darwin.events import step
from darwin.evolution import Evolution
from darwin.measure import Wanted, budget_of, measure
from darwin.memory.records import Check, Comparison, ComparisonRow, Individual, Status
from darwin.sandbox.budget import LARGER

SEEDS = 3
"""Fresh seeds on which base and champion are compared."""

LARGER_SEEDS = 2
"""Fresh seeds at the larger budget, where a training run costs ``LARGER`` times as much."""


@step
def check(evolution: Evolution) -> None:
    """Let the champion meet the base at the larger budget, and record what is left of its gain; once a champion."""
    memory, run = evolution.memory, evolution.run
    if run.champion is None or memory.individuals[run.champion].larger is not None:
        return
    base, champion = evolution.base, memory.individuals[run.champion]
    seeds = evolution.seeds("larger", 1 + LARGER_SEEDS)
    seeds = seeds[1:] if champion.operator == "ablation" else seeds[:-1]  # no seed that chose it
    budget = budget_of(run.budget, LARGER)
    evolution.screen.say(f"{champion.id:14} meets {base.id} at {budget}, {len(seeds)} fresh seeds.")
    measure(evolution, [Wanted(i, seed, ("val", "test"), LARGER) for seed in seeds for i in (base, champion)])
    base, champion = memory.individuals[base.id], memory.individuals[champion.id]
    if champion.status is Status.DISQUALIFIED:
        evolution.screen.say(f"{champion.id} is champion no longer: {champion.reason}", "yellow")
        proven = None if run.incumbent in (base.id, champion.id) else run.incumbent
        memory.record(evolution.advanced(champion=proven, test_uses=_uses(evolution)))
        return
    pairs = verdicts.paired(champion, base, seeds, "val", budget)
    if not pairs or champion.loss is None or base.loss is None:
        return
    everywhere = [t.seed for t in base.trials if t.split == "val"]
    short = verdicts.paired(champion, base, everywhere, "val", run.budget)
    found = Check(
        against=base.id,
        budget=budget,
        effect=fmean(p.mine - p.theirs for p in pairs),
        short_effect=fmean(p.mine - p.theirs for p in short[1:] or short),  # the first seed chose it
        seeds=tuple(p.seed for p in pairs),
    )
    checked = champion.model_copy(update={"larger": found})
    memory.record(checked, evolution.advanced(test_uses=_uses(evolution)))
    evolution.screen.checked(checked)


@step
def compare(evolution: Evolution) -> Comparison | None:
    """Train base, main and champion on fresh seeds, judge them on the test split, and record the outcome.

    Where nothing was proven better, the best of the population stands in for the champion, marked unproven, and
    there is no row at the larger budget. None if nothing beat the base, or either did not come to a loss on two seeds.
    """
    memory, run, base = evolution.memory, evolution.run, evolution.base
    best = min((memory.individuals[i] for i in run.population.values()), key=lambda i: i.rank)
    champion = memory.individuals[run.champion] if run.champion else best
    if champion.id == base.id:
        evolution.screen.say("No script beat the base: there is nothing to compare.")
        return None
    incumbent = memory.individuals[run.incumbent]
    rivals = list({i.id: i for i in (base, incumbent, champion)}.values())
    seeds = evolution.seeds("closing", SEEDS)
    evolution.screen.comparing(base, champion, len(seeds))
    measure(evolution, [Wanted(i, seed, ("test",)) for seed in seeds for i in rivals])
    rows = [_row(evolution, base.id, champion.id, run.budget, seeds)]
    if run.champion is not None:
        larger = champion.larger.seeds if champion.larger is not None else ()
        if incumbent.id not in (base.id, champion.id):  # those two were trained there for the check
            measure(evolution, [Wanted(incumbent, seed, ("val", "test"), LARGER) for seed in larger])
        rows.append(_row(evolution, base.id, champion.id, budget_of(run.budget, LARGER), larger))
    comparison = None
    if rows[0] is not None:
        found = tuple(row for row in rows if row is not None)
        comparison = Comparison(
            split="test",
            base=base.id,
            champion=champion.id,
            proven=run.champion is not None,
            confidence=verdicts.CONFIDENCE,
            rows=found,
            fades=fades(found),
        )
    memory.record(evolution.advanced(comparison=comparison, test_uses=_uses(evolution)))
    return comparison


def fades(rows: Sequence[ComparisonRow]) -> bool | None:
    """Whether less than half of the gain, in log perplexity, is left in the last row; None for a single row."""
    if len(rows) < 2:
        return None
    short, long = (math.log1p(row.change_percent / 100) for row in (rows[0], rows[-1]))
    return long > 0.5 * min(short, 0.0)


def _uses(evolution: Evolution) -> int:
    """How many times the test split was judged in this workspace."""
    everyone = evolution.memory.individuals.values()
    return sum(
        t.split == "test" and not t.taken_from for i in everyone for t in (*i.all_trials, *i.superseded)
    )


def _row(
    evolution: Evolution, base: str, champion: str, budget: str, seeds: tuple[int, ...]
) -> ComparisonRow | None:
    run, people = evolution.run, evolution.memory.individuals
    pairs = verdicts.paired(people[champion], people[base], seeds, "test", budget)
    differences = [p.mine - p.theirs for p in pairs]
    bounds = verdicts.pooled_interval(differences, verdicts.spread(run, people))
    if bounds is None or len(pairs) < 2:
        return None
    paired = tuple(p.seed for p in pairs)
    return ComparisonRow(
        budget=budget,
        seeds=paired,
        base_perplexity=math.exp(fmean(p.theirs for p in pairs)),
        champion_perplexity=math.exp(fmean(p.mine for p in pairs)),
        change_percent=100 * math.expm1(fmean(differences)),
        interval_percent=(100 * math.expm1(bounds[0]), 100 * math.expm1(bounds[1])),
        base_mfu=_mfu(people[base], paired, budget),
        champion_mfu=_mfu(people[champion], paired, budget),
    )


def _mfu(individual: Individual, seeds: tuple[int, ...], budget: str) -> float | None:
    trials = [verdicts.find(individual.trials, seed, "test", budget) for seed in seeds]
    known = [t.mfu for t in trials if t is not None and t.mfu is not None]
    return fmean(known) if known else None
