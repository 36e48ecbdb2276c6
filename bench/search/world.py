"""The real loop over the surrogate: real agents, variation, selection, verdicts and ablation; no git, no files, no
training. What differs from a run is the seam: memory that writes nothing, a lineage of dictionaries, and trials whose
losses the surrogate foretells."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from surrogate import Surrogate

from darwin import gate
from darwin.agents import fingerprint, roster
from darwin.agents.knowledge import priors
from darwin.begin import ANCESTOR
from darwin.config import Config
from darwin.curves import Curves
from darwin.evolution import Evolution
from darwin.genome import evolvable
from darwin.lineage import read_genome
from darwin.loop import evolve
from darwin.measure import with_trial
from darwin.memory import Memory
from darwin.memory.effects import Effects, Prior
from darwin.memory.records import AgentCard, Individual, Run, Status, Trial, TrialStatus, perplexity
from darwin.reviewers import Defer
from darwin.sandbox import Job
from darwin.screen import Screen
from darwin.workspace import Workspace

BUDGET, TOKENS = "125ktok", 125_000
COST = {1: 14.5, 6: 72.0}
"""CPU seconds of a trial at the budget and at six times it: training, judging and starting it, as measured."""
AGENTS = 6
FAILING = 0.04
"""Share of new scripts that do not train."""


class Unwritten(Memory):
    """Memory that lives in this process alone."""

    def __init__(self, known: Mapping[str, Prior]) -> None:
        self.individuals, self.decisions, self.requests, self._run = {}, {}, {}, None
        self._priors = lambda: known
        self._modelled = (-1, -1), Effects({})
        self._observed, self._learnt, self._features = {}, ((), ()), {}
        self.judged, self._attempts, self._groups, self._tried = {}, {}, {}, {}

    def record(self, *records: Any, refs: Mapping[str, str] | None = None) -> None:
        """Keep them."""
        self._take(records)

    def project_derived(self) -> int:
        """Nothing is written."""
        return 0


@dataclass
class Unstored:
    """A lineage of dictionaries: the calls that the loop makes."""

    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def files(self, commit: str) -> dict[str, bytes]:
        return self.trees[commit]

    def commit(self, files: Mapping[str, bytes], parents: Sequence[str], **fields: Any) -> tuple[str, str]:
        tree = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        commit = hashlib.sha256(repr((tree, list(parents), sorted(fields.items()))).encode()).hexdigest()
        self.trees[commit] = dict(files)
        return commit, tree

    def diff(self, before: str, after: str) -> str:
        return ""

    def shows(self, commit: str) -> bool:
        return True

    def pack(self, most: int) -> bool:
        return False


class Silent(Screen):
    """A screen that nobody looks at."""

    def say(self, text: str, style: str = "") -> None:
        """Not a word."""


@dataclass
class World:
    """One evolution over a surrogate, and what it cost."""

    evolution: Evolution
    surrogate: Surrogate
    cpu_seconds: float = 0.0


def begin(
    surrogate: Surrogate, seed: int, search: str = "ga", control: str | None = None, agents: int = AGENTS
) -> World:
    """A workspace in memory, the base measured, as ``darwin.begin`` makes one on disk."""
    config = Config(
        seed=seed, agents=f"rules:{agents}", budget=BUDGET, search=search, control=control, workers=2
    )
    memory, lineage, files = Unwritten({} if control == "no-knowledge" else priors()), Unstored(), _ancestor()
    commit, tree = lineage.commit(files, [], ordinal=0)
    base = Individual(
        id="g000-base",
        ordinal=0,
        generation=0,
        commit=commit,
        tree=tree,
        code=fingerprint(evolvable(files)),
        operator="base",
        status=Status.TRAINED,
    )
    memory.record(base)
    workspace = Workspace(Path("/nonexistent"), config, lineage, memory)  # type: ignore[arg-type]
    everyone = roster(config.agents)
    evolution = Evolution(
        workspace=workspace,
        agents={agent.name: agent for agent in everyone},
        evaluate=lambda jobs: iter(()),
        reviewer=Defer(),
        screen=Silent(Console(quiet=True)),
        curves=Curves(Path("nowhere")),
    )
    world = World(evolution, surrogate)
    evolution.evaluate = trials_of(world)
    cards = tuple(AgentCard(name=a.name, kind=a.kind, temperament=a.temperament) for a in everyone)
    run = Run(
        seed=seed,
        agents=cards,
        budget=BUDGET,
        tokens=TOKENS,
        batch=config.batch,
        device="cpu",
        search=search,
        control=control,
        dataset="surrogate",
        dataset_name="surrogate",
        torch="none",
        peak_flops=1e11,
        population={card.name: base.id for card in cards},
        main=commit,
        incumbent=base.id,
    )
    memory.record(run)
    job = Job(base.id, files, evolution.seeds("selection", 1)[0], TOKENS, BUDGET)
    for _, trial in evolution.evaluate([job]):
        memory.record(with_trial(base, trial, memory.individuals))
    return world


_FILES: dict[str, bytes] = {}


def _ancestor() -> dict[str, bytes]:
    if not _FILES:
        _FILES.update(read_genome(ANCESTOR))
    return _FILES


def trials_of(world: World) -> Callable[[Sequence[Job]], Iterator[tuple[Job, Trial]]]:
    """Trials like ``darwin.sandbox.evaluate``'s: what the surrogate says of what the records say a script has."""
    memory = world.evolution.memory

    def evaluate(jobs: Sequence[Job]) -> Iterator[tuple[Job, Trial]]:
        has = memory.features()
        for job in jobs:
            code = memory.individuals[job.label].code
            common: dict[str, Any] = {"seed": job.seed, "budget": job.budget, "tokens": job.tokens or TOKENS}
            world.cpu_seconds += COST[job.times]
            fails = int(hashlib.sha256(code.encode()).hexdigest()[:8], 16) < FAILING * 2**32
            if fails and memory.individuals[job.label].parents:
                yield (
                    job,
                    Trial(
                        split=job.split, **common, status=TrialStatus.CRASHED, phase="train", error="planted"
                    ),
                )
                continue
            for split in (job.split, *job.further):
                loss = world.surrogate.loss(has[job.label], job.times, job.seed, code + split)
                yield (
                    job,
                    Trial(
                        split=split,
                        **common,
                        loss=loss,
                        perplexity=perplexity(loss),
                        seconds=10.0 * job.times,
                        judge_seconds=2.0,
                        cpu_seconds=COST[job.times],
                    ),
                )

    return evaluate


def outcome(world: World, generations: int) -> dict[str, Any]:
    """Run it, and say what it came to: true gains of its champion in nats, what was claimed, and the CPU seconds."""
    # A case is what a person looks at: there is no git here to read it from, and nobody looks.
    with patch.object(gate, "case"):
        evolve(world.evolution, generations)
    memory, run = world.evolution.memory, world.evolution.run
    best = min((memory.individuals[i] for i in run.population.values()), key=lambda i: i.rank)
    champion = memory.individuals[run.champion] if run.champion else best
    has = memory.features()[champion.id]
    children = [i for i in memory.individuals.values() if i.author]
    return {
        "champion": champion.id,
        "has": has,
        "short": world.surrogate.gain(has, 1),
        "long": world.surrogate.gain(has, 6),
        "claimed": -champion.delta.get("base", 0.0),
        "cpu_seconds": world.cpu_seconds,
        "children": len(children),
        "crossovers": sum(i.operator == "crossover" for i in children),
        "refused": sum(i.status is Status.REFUSED for i in children),
    }
