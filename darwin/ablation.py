"""Ablation: an individual without each of its ideas in turn, trained on the same seeds: what each one is worth.

An idea is taken out by a three-way merge: the individual's script, with the change undone that brought the idea in.
Each script that comes of it is an individual of its own, in git and in memory, so lessons are drawn from it too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from darwin import verdicts
from darwin.agents import edits, fingerprint
from darwin.agents.errors import EditError
from darwin.agents.knowledge import techniques
from darwin.agents.settings import change, numbers
from darwin.committed import committed
from darwin.evolution import Evolution
from darwin.genome import alike, evolvable
from darwin.lineage import individual_ref, text_files
from darwin.measure import Wanted, budget_of, measure
from darwin.memory.effects import Estimate
from darwin.memory.records import Individual, Status
from darwin.merge import Files, ancestors, merge
from darwin.sandbox.budget import LARGER

PAIRS = 2
"""Seeds on which the individual meets each script that lacks something."""

MOST, CHILDREN_EACH = 3, 24
"""Techniques that a run tries its champion without, at the larger budget, and how many children it has for each: so
many cost about four times what the two trials without a technique do."""


@dataclass(frozen=True)
class Part:
    """One idea's share in an individual: what it adds there to log perplexity and log MFU.

    ``without`` is the individual that lacks it; None, with a ``note``, where it cannot be taken out or fails without.
    """

    idea: str
    expected: Estimate
    without: str | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    mfu: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Ablation:
    """What every idea of an individual is worth at a budget, and together: ``whole`` is its difference to the base."""

    individual: str
    budget: str
    seeds: tuple[int, ...]
    parts: tuple[Part, ...]
    whole: float | None

    @property
    def remainder(self) -> float | None:
        """What the ideas do together beyond the sum of their shares: how they interact, and what could not be told."""
        known = [p.effect for p in self.parts if p.effect is not None]
        return None if self.whole is None else self.whole - sum(known)


def doubts(evolution: Evolution, individual: Individual, long: bool = False) -> list[tuple[str, Estimate]]:
    """The ideas in an individual's script with what each is expected to do there, the most doubtful first."""
    memory = evolution.memory
    has = memory.features()[individual.id]
    effects, base = memory.effects(), evolution.base
    gain = (base.loss or 0.0) - (individual.loss or 0.0)
    found = []
    for idea, amount in has.items():
        rest = {i: a for i, a in has.items() if i != idea}
        found.append((idea, effects.of({idea: amount}, rest, gain)))
    return sorted(found, key=lambda one: (-_doubt(one[1], long), one[0]))


def _doubt(expected: Estimate, long: bool) -> float:
    """Chance that an idea does not help at that horizon."""
    mean, deviation = (expected.long, expected.long_sd) if long else (expected.short, expected.short_sd)
    return 1 - NormalDist().cdf(-mean / max(deviation, 1e-9))


def ablate(
    evolution: Evolution,
    individual: Individual,
    ideas: Sequence[tuple[str, Estimate]],
    times: int = 1,
    seeds: tuple[int, ...] = (),
) -> Ablation:
    """Train an individual with and without each idea on the same seeds (``PAIRS`` of an ablation's own, unless given),
    at ``times`` the run's budget."""
    memory, budget = evolution.memory, budget_of(evolution.run.budget, times)
    seeds = seeds or evolution.seeds("ablation", PAIRS)
    lacking = {idea: without(evolution, individual, (idea,)) for idea, _ in ideas}
    known = [i for i in lacking.values() if i is not None]
    measure(evolution, [Wanted(i, evolution.seeds("selection", 1)[0]) for i in known])
    works = [i for i in known if memory.individuals[i.id].status is Status.TRAINED]
    rivals = {i.id: i for i in (individual, *works)} if works else {}
    if works and times == 1:
        rivals[evolution.base.id] = evolution.base
    measure(evolution, [Wanted(i, seed, times=times) for seed in seeds for i in rivals.values()])
    parts = [
        _part(evolution, individual, idea, expected, lacking[idea], seeds, budget) for idea, expected in ideas
    ]
    whole = verdicts.paired(memory.individuals[individual.id], evolution.base, seeds, "val", budget)
    return Ablation(
        individual=individual.id,
        budget=budget,
        seeds=seeds,
        parts=tuple(parts),
        whole=fmean(p.mine - p.theirs for p in whole) if whole else None,
    )


def _part(
    evolution: Evolution,
    individual: Individual,
    idea: str,
    expected: Estimate,
    lacking: Individual | None,
    seeds: tuple[int, ...],
    budget: str,
) -> Part:
    if lacking is None:
        return Part(idea, expected, note="cannot be taken out alone: other changes stand on its lines")
    memory = evolution.memory
    mine, theirs = memory.individuals[individual.id], memory.individuals[lacking.id]
    pairs = verdicts.paired(mine, theirs, seeds, "val", budget)
    if not pairs:
        return Part(
            idea, expected, lacking.id, note=f"does not train without it: {theirs.reason or theirs.status}"
        )
    differences = [p.mine - p.theirs for p in pairs]
    known = verdicts.spread(evolution.run, memory.individuals)
    shares = [verdicts.find(i.trials, p.seed, "val", budget) for p in pairs for i in (mine, theirs)]
    mfus = [math.log(t.mfu) for t in shares if t is not None and t.mfu]
    return Part(
        idea=idea,
        expected=expected,
        without=lacking.id,
        effect=fmean(differences),
        interval=verdicts.pooled_interval(differences, known),
        mfu=fmean(mfus[::2]) - fmean(mfus[1::2]) if len(mfus) == 2 * len(pairs) else None,
    )


def most(children: int) -> int:
    """Techniques that a run of so many children tries its champion without: at least one."""
    return min(MOST, max(1, children // CHILDREN_EACH))


def thinner(evolution: Evolution, champion: Individual) -> Individual | None:
    """The champion without those of its doubtful techniques that do not pay at the larger budget; None if all do.

    In doubt is what is not known to help there, or known not to; of those, what helps most at the run's budget. Each
    script that lacks one meets the champion on the first seed of the champion's check: one run in place of two. A
    technique goes where the champion is ahead without it by more than the luck of a pair.
    """
    doubtful = _doubtful(evolution, champion)
    if not doubtful:
        return None
    names = ", ".join(name_of(idea) for idea, _ in doubtful)
    budget = budget_of(evolution.run.budget, LARGER)
    evolution.screen.say(f"{champion.id:14} is tried without {names} at {budget}: does it last?", "bold")
    parts = ablate(evolution, champion, doubtful, LARGER, evolution.seeds("larger", 1)).parts
    luck = verdicts.LEADS * verdicts.spread(evolution.run, evolution.memory.individuals).deviation
    useless = [p.idea for p in parts if p.effect is not None and p.effect > luck]
    for part in parts:
        worth = "cannot be told" if part.effect is None else f"{100 * math.expm1(part.effect):+.1f} %"
        evolution.screen.say(f"{champion.id:14} {name_of(part.idea)}: {worth} at {budget}")
    if not useless:
        return None
    lighter = without(evolution, champion, tuple(sorted(useless)))
    if lighter is None:
        return None
    measure(evolution, [Wanted(lighter, evolution.seeds("selection", 1)[0])])
    lighter = evolution.memory.individuals[lighter.id]
    return lighter if lighter.status is Status.TRAINED else None


def _doubtful(evolution: Evolution, champion: Individual) -> list[tuple[str, Estimate]]:
    """The techniques to try the champion without; chosen once, since the trials that follow change what is in doubt."""
    memory = evolution.memory
    found = sorted(doubts(evolution, champion), key=lambda one: one[1].short)
    if champion.id not in evolution.run.doubted:
        effects = memory.effects()
        chosen = [
            idea
            for idea, expected in found
            if idea.startswith("technique:") and (expected.long >= 0 or not effects.seen_long(idea))
        ][: most(evolution.run.settled)]
        memory.record(evolution.advanced(doubted={champion.id: tuple(chosen)}))
    expected = dict(found)
    return [(idea, expected[idea]) for idea in evolution.run.doubted[champion.id]]


def name_of(idea: str) -> str:
    """An idea as people call it: muon, learning_rate."""
    return idea.partition(":")[2]


def without(evolution: Evolution, individual: Individual, ideas: Sequence[str]) -> Individual | None:
    """The individual that lacks these ideas: one that is known already, or a new one. None if they cannot be undone."""
    memory, lineage = evolution.memory, evolution.workspace.lineage
    files: Files | None = lineage.files(individual.commit)
    for idea in ideas:
        files = _taken_out(evolution, individual, idea, files) if files is not None else None
    if files is None:
        return None
    code = fingerprint(evolvable(files))
    known = next((i for i in memory.individuals.values() if i.code == code and i.trials), None)
    if known is not None:
        return known
    prefix = f"without-{name_of(ideas[0])}" if len(ideas) == 1 else "thinner"
    id, subject = f"{prefix}-{individual.id}", f"Take {' and '.join(map(name_of, ideas))} out"
    if id in memory.individuals:
        return memory.individuals[id]
    child = committed(
        lineage,
        files,
        [individual],
        body=[f"To see what it is worth in {individual.id}."],
        id=id,
        ordinal=evolution.run.settled,
        generation=individual.generation,
        operator="ablation",
        subject=subject,
        without=tuple(ideas),
    )
    memory.record(child, refs={individual_ref(id): child.commit})
    return child


def _taken_out(evolution: Evolution, individual: Individual, idea: str, files: Files) -> Files | None:
    kind, _, name = idea.partition(":")
    memory, lineage = evolution.memory, evolution.workspace.lineage
    line = list(ancestors(individual, memory.individuals).values())
    if kind == "setting":
        first = [i.settings[name][0] for i in line if name in i.settings]
        place = numbers(evolvable(files)).get(name)
        if not first or place is None:
            return None
        path = place[0]
        return files | {path: change(files[path].decode(), name, first[-1]).encode()}
    brought = [i for i in line if name in i.techniques and i.operator != "crossover"]
    if not brought:
        return None
    where = brought[0]
    after = lineage.files(where.commit)
    if where.techniques == (name,) and not where.settings:
        before: Files | None = lineage.files(memory.individuals[where.parents[0]].commit)
    else:
        before = _undone(name, after)
    return None if before is None else merge(files, after, alike(before, after))


def _undone(technique: str, files: Files) -> Files | None:
    """Files without a technique's own edits, where they still stand as they were made."""
    blocks = {t.id: t.edits for t in techniques()}.get(technique)
    if blocks is None:
        return None
    try:
        undone = edits.apply(edits.inverse(blocks), text_files(files))
    except EditError:
        return None
    return {path: text.encode() for path, text in undone.items()}
