"""Granted requests that take trials to carry out: a layout has to give the same losses first."""

from __future__ import annotations

from darwin.committed import committed
from darwin.errors import UsageError
from darwin.evolution import Evolution
from darwin.genome import extended
from darwin.layout import Move
from darwin.lineage import individual_ref, population_refs, text_files
from darwin.measure import LAYOUT, Wanted, measure
from darwin.memory.records import Individual, Trial
from darwin.memory.requests import Kind, Request, State, pending
from darwin.requests import in_words
from darwin.screen import counted

SEEDS = 2
"""Seeds, of those that the parent was trained on, that a layout has to give the same losses on."""

TOLERANCE = 1e-3
"""Nats by which losses may differ where equal runs are not equal to the last bit: on any device but a CPU."""


def fulfil(evolution: Evolution) -> None:
    """Carry out the layouts that wait, on the best script of the population that each fits; once each."""
    memory = evolution.memory
    for request in pending(memory.requests, Kind.LAYOUT):
        moved, problem = _moved(evolution, request)
        if moved is None:
            _end(evolution, request, State.FAILED, problem)
            continue
        parent = memory.individuals[moved.parents[0]]
        wanted = {t.seed: t.loss for t in _trials(parent, evolution)[:SEEDS]}
        measure(evolution, [Wanted(moved, seed) for seed in wanted])
        moved = memory.individuals[moved.id]
        found = {t.seed: t.loss for t in _trials(moved, evolution)}
        if wanted and all(_equal(wanted[seed], found.get(seed), evolution) for seed in wanted):
            words = f"{moved.id} is {parent.id} with {request.given}, and has the same loss"
            _end(evolution, request, State.DONE, f"{words} on {counted(len(wanted), 'seed')}", moved)
        else:
            losses = ", ".join(f"{found.get(seed)} in place of {loss}" for seed, loss in wanted.items())
            words = f"{moved.id} does not give the losses of {parent.id}: {moved.reason or losses}"
            _end(evolution, request, State.FAILED, words)


def _moved(evolution: Evolution, request: Request) -> tuple[Individual | None, str]:
    """The best script that the move fits, moved and recorded (or as recorded before), or why there is none."""
    memory, lineage, run = evolution.memory, evolution.workspace.lineage, evolution.run
    move, problem = Move.parse(request.given), "no script has a loss"
    granted_at = request.rulings[-1].settled
    for one in memory.individuals.values():  # a run that was killed meanwhile has made it already
        if request.id in one.requests and one.subject == _subject(request) and one.ordinal >= granted_at:
            return one, ""
    owned = {i: memory.individuals[i] for i in run.population.values()}
    for parent in sorted((i for i in owned.values() if i.loss is not None), key=lambda i: i.rank):
        files = lineage.files(parent.commit)
        try:
            texts = move.applied(text_files({p: d for p, d in files.items() if p.endswith(".py")}))
        except UsageError as error:
            problem = problem if problem.startswith(parent.id) else f"{parent.id}: {str(error).rstrip('.')}"
            continue
        files = extended({**files, **{p: t.encode() for p, t in texts.items()}}, [move.target])
        return _recorded(evolution, request, parent, files), ""
    return None, problem


def _subject(request: Request) -> str:
    return f"Move {request.given}"


def _recorded(
    evolution: Evolution, request: Request, parent: Individual, files: dict[str, bytes]
) -> Individual:
    memory, run = evolution.memory, evolution.run
    number = 1 + sum(i.operator == LAYOUT for i in memory.individuals.values())
    moved = committed(
        evolution.workspace.lineage,
        files,
        [parent],
        body=[
            f"Asked for by {', '.join(request.askers)}, granted by {request.rulings[-1].by.partition(' <')[0]}."
        ],
        id=f"layout{number}-{parent.id}",
        ordinal=run.settled,
        generation=parent.generation,
        owner=next(agent for agent, one in run.population.items() if one == parent.id),
        operator=LAYOUT,
        subject=_subject(request),
        requests=(request.id,),
    )
    memory.record(moved, refs={individual_ref(moved.id): moved.commit})
    return moved


def _end(
    evolution: Evolution, request: Request, state: State, outcome: str, moved: Individual | None = None
) -> None:
    """Record what a layout came to; with the population that owns it, where it came to something."""
    memory, run = evolution.memory, evolution.run
    ended = request.model_copy(update={"state": state, "outcome": outcome})
    population = run.population
    if moved is not None:
        population = {a: moved.id if i == moved.parents[0] else i for a, i in run.population.items()}
    memory.record(ended, evolution.advanced(population=population), refs=population_refs(population, memory))
    evolution.screen.say(in_words(ended), "bold")


def _trials(one: Individual, evolution: Evolution) -> list[Trial]:
    """Its trials at the run's budget that came to a loss."""
    budget = evolution.run.budget
    return [t for t in one.trials if (t.split, t.budget) == ("val", budget) and t.loss is not None]


def _equal(one: float | None, other: float | None, evolution: Evolution) -> bool:
    if one is None or other is None:
        return False
    return one == other if evolution.run.device == "cpu" else abs(one - other) <= TOLERANCE
