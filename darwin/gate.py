"""The gate: only here does ``main`` move, and only by a decision."""

from __future__ import annotations

from dataclasses import dataclass

from darwin.errors import UsageError
from darwin.lineage import MAIN, Lineage
from darwin.memory import Memory
from darwin.memory.records import Choice, Decision, Individual, Outcome, Run


@dataclass(frozen=True)
class Case:
    """What a reviewer is shown: a contender proven better than the incumbent, with everything known of both."""

    contender: Individual
    incumbent: Individual
    base: Individual
    diff: str


@dataclass(frozen=True)
class Answer:
    """What a reviewer says, and who that is."""

    choice: Choice
    by: str
    reason: str = ""


def waiting(memory: Memory) -> list[Individual]:
    """The contenders that wait for a decision: proven better than the incumbent of now, the best one last."""
    decided = {i for i, d in memory.decisions.items() if d.choice is not Choice.DEFER}
    return sorted(
        (
            i
            for i in memory.individuals.values()
            if i.verdict is not None
            and i.verdict.outcome is Outcome.BETTER
            and i.verdict.against == memory.run.incumbent
            and i.id not in decided
        ),
        key=lambda i: i.rank,
        reverse=True,
    )


def case(memory: Memory, lineage: Lineage, contender: Individual) -> Case:
    """All that a reviewer needs to decide on a contender."""
    incumbent = memory.individuals[memory.run.incumbent]
    diff = lineage.diff(memory.run.main, contender.commit)
    return Case(contender, incumbent, memory.resolve("base"), diff)


def decide(memory: Memory, lineage: Lineage, contender: Individual, answer: Answer, run: Run) -> Decision:
    """Carry out a decision: merge with exactly the contender's tree, or reject, or leave it waiting.

    Args:
        run: the run's state to record with it (its CPU seconds brought up to date).

    Raises:
        UsageError: the contender was judged against another incumbent than the one of now.
    """
    if contender.verdict is None or contender.verdict.against != run.incumbent:
        raise UsageError(
            f"{contender.id} was judged against {contender.verdict.against if contender.verdict else 'nobody'}, "
            f"but main is {run.incumbent} now: it cannot be merged on that evidence."
        )
    previous, refs, merge = run.main, {}, None
    if answer.choice is Choice.MERGE:
        merge = lineage.merge_commit(
            run.main, contender, ordinal=run.settled, person=answer.by, reason=answer.reason
        )
        refs = {MAIN: merge}
        run = run.model_copy(update={"main": merge, "incumbent": contender.id, "champion": contender.id})
    decision = Decision(
        id=contender.id,
        generation=contender.generation,
        choice=answer.choice,
        by=answer.by,
        reason=answer.reason,
        incumbent=contender.verdict.against,
        merge_commit=merge,
    )
    if answer.choice is Choice.REJECT and run.champion == contender.id:
        left = [i for i in waiting(memory) if i.id != contender.id]
        proven = run.incumbent if run.incumbent != memory.resolve("base").id else None
        run = run.model_copy(update={"champion": left[-1].id if left else proven})
    memory.record(decision, run, refs=refs)
    memory.project_derived()
    if merge is not None:
        lineage.check_out(previous, merge)
    return decision
