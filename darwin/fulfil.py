"""Granted requests that take trials to carry out: a layout has to give the same losses first."""

from __future__ import annotations

from darwin.agents import fingerprint
from darwin.errors import UsageError
from darwin.evolution import Evolution
from darwin.genome import evolvable, extended
from darwin.layout import Move
from darwin.lineage import individual_ref, population_refs, text_files
from darwin.measure import LAYOUT, Wanted, measure
from darwin.memory.records import Individual, TrialStatus
from darwin.memory.requests import Kind, Request, State
from darwin.requests import in_words
from darwin.verdicts import find

TOLERANCE = 1e-3
"""Nats by which losses may differ where equal runs are not equal to the last bit: on any device but a CPU."""


def fulfil(evolution: Evolution) -> None:
    """Carry out the layouts that wait, on the best script of the population that each fits; once each."""
    memory = evolution.memory
    for request in [r for r in memory.requests.values() if (r.kind, r.state) == (Kind.LAYOUT, State.GRANTED)]:
        moved, problem = _moved(evolution, request)
        if moved is None:
            _end(evolution, request, State.FAILED, problem)
            continue
        parent = memory.individuals[moved.parents[0]]
        seeds = [t.seed for t in parent.trials if _counts(t.split, t.budget, evolution)][:2]
        measure(evolution, [Wanted(moved, seed) for seed in seeds])
        moved = memory.individuals[moved.id]
        losses = [(_loss(i, seed, evolution) for i in (parent, moved)) for seed in seeds]
        same = [(a, b) for a, b in losses if a is not None and b is not None]
        exact = evolution.run.device == "cpu"
        if len(same) == len(seeds) and all(a == b if exact else abs(a - b) <= TOLERANCE for a, b in same):
            words = (
                f"{moved.id} is {parent.id} with {request.given}, and has the same loss on {len(seeds)} seeds"
            )
            _end(evolution, request, State.DONE, words, moved)
        else:
            found = ", ".join(f"{a:.6f} and {b:.6f}" for a, b in same) or moved.reason or "none"
            _end(
                evolution,
                request,
                State.FAILED,
                f"{moved.id} does not give the losses of {parent.id}: {found}",
            )


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
    commit, tree = evolution.workspace.lineage.commit(
        files,
        [parent.commit],
        ordinal=run.settled,
        author=None,
        subject=_subject(request),
        body=[
            f"Asked for by {', '.join(request.askers)}, granted by {request.rulings[-1].by.partition(' <')[0]}."
        ],
        trailers=[("Darwin-Operator", LAYOUT), ("Darwin-Generation", str(parent.generation))],
    )
    moved = Individual(
        id=f"layout{number}-{parent.id}",
        ordinal=run.settled,
        generation=parent.generation,
        commit=commit,
        tree=tree,
        code=fingerprint(evolvable(files)),
        parents=(parent.id,),
        owner=next(agent for agent, one in run.population.items() if one == parent.id),
        operator=LAYOUT,
        subject=_subject(request),
        requests=(request.id,),
    )
    memory.record(moved, refs={individual_ref(moved.id): commit})
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


def _counts(split: str, budget: str, evolution: Evolution) -> bool:
    return split == "val" and budget == evolution.run.budget


def _loss(one: Individual, seed: int, evolution: Evolution) -> float | None:
    trial = find(one.trials, seed, "val", evolution.run.budget)
    return trial.loss if trial is not None and trial.status is TrialStatus.OK else None
