"""The gate: only here does ``main`` move, and only by a decision.

A decision is carried out by whoever holds the workspace's lock, in one git transaction with its record. What merges is
exactly the tree that was trained, judged and shown: an approval of anything else goes stale and is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from darwin import answers, changes, verdicts
from darwin.answers import Answer
from darwin.changes import Change
from darwin.committed import committed
from darwin.errors import MainMoved, UsageError
from darwin.genome import evolvable, only_names_more
from darwin.granted import new_files
from darwin.lineage import GENOME_FILE, MAIN, Lineage, individual_ref
from darwin.memory import Memory
from darwin.memory.records import Choice, Decision, Individual, Outcome, Run, Status
from darwin.memory.requests import waiting as unanswered
from darwin.sandbox import Contract

NOBODY = "nobody yet"
"""Signs a decision that was put off because nobody was asked."""

EDIT = "edit"
"""Operator of an individual that a person wrote by editing a contender."""

OPEN = (Choice.DEFER, Choice.EDIT, Choice.STALE)
"""Decisions after which a contender may still merge."""


@dataclass(frozen=True)
class Case:
    """What a reviewer is shown: a contender and the incumbent, with everything known of both.

    ``line`` are the individuals from the incumbent's script to the contender's, oldest first: a merge is all of them;
    ``original`` is the contender that a person edited into this one; ``requests`` how many of the agents' wait.
    """

    contender: Individual
    incumbent: Individual
    base: Individual
    change: Change
    run: Run
    line: tuple[Individual, ...]
    original: Individual | None = None
    earlier: Decision | None = None
    requests: int = 0

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why merging it needs a second, explicit yes; none for a contender that is proven better."""
        return doubts(self.contender, self.original, self.run)


def waiting(memory: Memory) -> list[Individual]:
    """The contenders that wait for a decision, the best one last.

    They are proven better than the incumbent of now, or a person's own edits, whatever their verdict against it.
    """
    decided = {i for i, d in memory.decisions.items() if d.choice not in OPEN}
    return sorted(
        (
            i
            for i in memory.judged.values()
            if i.verdict is not None
            and i.status is not Status.DISQUALIFIED
            and (i.verdict.outcome is Outcome.BETTER or i.operator == EDIT)
            and i.verdict.against == memory.run.incumbent
            and i.id not in decided
        ),
        key=lambda i: i.rank,
        reverse=True,
    )


def unjudged(memory: Memory) -> list[Individual]:
    """What people asked for and nobody has judged yet: their edits, and approvals that main has overtaken."""
    stale = [i for i, d in memory.decisions.items() if d.choice is Choice.STALE]
    return [
        i
        for i in memory.individuals.values()
        if i.status in (Status.BORN, Status.TRAINED)
        and (
            (i.operator == EDIT and i.verdict is None)
            or (i.id in stale and (i.verdict is None or i.verdict.against != memory.run.incumbent))
        )
    ]


def case(memory: Memory, lineage: Lineage, contender: Individual) -> Case:
    """All that a reviewer needs to decide on a contender."""
    incumbent = memory.individuals[memory.run.incumbent]
    original = memory.individuals[contender.parents[0]] if contender.operator == EDIT else None
    line = [contender]
    while line[0].parents and line[0].parents[0] != incumbent.id:
        line.insert(0, memory.individuals[line[0].parents[0]])
    return Case(
        contender=contender,
        incumbent=incumbent,
        base=memory.resolve("base"),
        change=_change(lineage, memory, contender),
        run=memory.run,
        line=tuple(i for i in line if i.parents),
        original=original,
        earlier=memory.decisions.get(contender.id),
        requests=len(unanswered(memory.requests)),
    )


def doubts(contender: Individual, original: Individual | None, run: Run) -> tuple[str, ...]:
    """Why a contender is not, or no longer, what a person would merge without a second thought."""
    found = []
    verdict = contender.verdict
    if verdict is None or verdict.outcome is not Outcome.BETTER:
        found.append(f"it is {verdict.outcome if verdict else 'not judged'} against main, not better")
    if original is not None and verdict is not None:
        pairs = verdicts.paired(contender, original, verdict.seeds, "val", run.budget)
        lost = sum(p.mine - p.theirs for p in pairs) / max(1, len(pairs))
        if lost > 0:
            found.append(f"it is worse than {original.id}, which you edited, by {lost:.4f} nats a token")
    return tuple(found)


def decide(memory: Memory, lineage: Lineage, contender: Individual, answer: Answer, run: Run) -> Decision:
    """Carry out a decision: merge with exactly the contender's tree, or reject, or leave it waiting.

    An approval of something else than what would merge now (main has moved) is recorded as stale and merges nothing.

    Args:
        run: the run's state to record with it (its CPU seconds brought up to date).

    Raises:
        MainMoved: somebody else has moved ``main``; nothing was recorded.
        UsageError: the change holds what must not merge, or a second yes is missing; nothing was recorded.
    """
    decision = Decision(
        id=contender.id,
        generation=contender.generation,
        choice=answer.choice,
        by=answer.by,
        reason=answer.reason,
        incumbent=run.incumbent,
        **answer.model_dump(include={"tree", "main", "shown", "lines_seen", "lines", "despite"}),
        answer=answer.digest,
        settled=run.settled,
        previous=_kept(memory.decisions.get(contender.id)),
    )
    if answer.choice is Choice.MERGE:
        return _merge(memory, lineage, contender, decision, run)
    if answer.choice is Choice.REVERT:
        return _revert(memory, lineage, contender, decision, run)
    if answer.choice is Choice.EDIT:
        return _edit(memory, lineage, contender, decision, answer.files, run)
    if answer.choice is Choice.REJECT and run.champion == contender.id:
        left = [i for i in waiting(memory) if i.id != contender.id and i.verdict.outcome is Outcome.BETTER]  # type: ignore[union-attr]
        run = run.model_copy(update={"champion": left[-1].id if left else _proven(memory, run.incumbent)})
    memory.record(decision, run)
    memory.project_derived()
    return decision


def carry_out(
    memory: Memory, lineage: Lineage, folder: Path, now: Callable[[], Run]
) -> tuple[list[tuple[Individual, Decision]], list[str], str]:
    """Carry out the answers that people have left, oldest first; each once, whatever was killed in between.

    Call with the workspace locked; ``now`` gives the run's state to record. Returns what was decided, a sentence for
    each answer that changes nothing, and why the rest still waits: while ``main`` is not where the records say, an
    approval is neither carried out nor lost.
    """
    kept = ""
    done: list[tuple[Individual, Decision]] = []
    posted, refused = answers.posted(folder)
    for identifier, answer in posted.items():
        earlier, contender = memory.decisions.get(identifier), memory.individuals.get(identifier)
        if contender is not None and (earlier is None or earlier.answer != answer.digest):
            try:
                _refuse_closed(memory, contender, answer)
                done.append((contender, decide(memory, lineage, contender, answer, now())))
            except MainMoved as error:
                kept = str(error)
                continue
            except UsageError as error:
                refused.append(str(error))
        answers.discard(folder, identifier)
    return done, refused, kept


def _refuse_closed(memory: Memory, contender: Individual, answer: Answer) -> None:
    """Raise UsageError where an answer comes too late: somebody has decided."""
    earlier = memory.decisions.get(contender.id)
    if answer.choice is Choice.REVERT or earlier is None or earlier.choice in OPEN:
        return
    raise UsageError(
        f"{contender.id} was decided before by {earlier.by.partition(' <')[0]} ({earlier.choice}); "
        f"the later answer ({answer.choice}) changes nothing."
    )


def _merge(memory: Memory, lineage: Lineage, contender: Individual, decision: Decision, run: Run) -> Decision:
    verdict = contender.verdict
    seen = (decision.tree or contender.tree, decision.main or run.main)
    if verdict is None or verdict.against != run.incumbent or seen != (contender.tree, run.main):
        stale = decision.model_copy(update={"choice": Choice.STALE})
        memory.record(stale, run)
        memory.project_derived()
        return stale
    objections = _change(lineage, memory, contender).objections
    if objections:
        raise UsageError(f"{contender.id} cannot be merged: {objections[0]}")
    original = memory.individuals[contender.parents[0]] if contender.operator == EDIT else None
    why = doubts(contender, original, run)
    if why and not (decision.despite and contender.operator == EDIT):
        raise UsageError(f"{contender.id} was not merged: {why[0]}. Merging it takes a second, explicit yes.")
    previous = run.main
    merge = lineage.merge_commit(
        previous, contender, ordinal=run.settled, person=decision.by, reason=decision.reason
    )
    champion = contender.id if verdict.outcome is Outcome.BETTER else None
    run = run.model_copy(update={"main": merge, "incumbent": contender.id, "champion": champion})
    return _move_main(memory, lineage, decision, run, previous)


def _revert(memory: Memory, lineage: Lineage, merged: Individual, decision: Decision, run: Run) -> Decision:
    """Take back the last merge: ``main`` gets the tree it had before, which was trained and judged too."""
    earlier = memory.decisions.get(merged.id)
    if earlier is None or earlier.choice is not Choice.MERGE:
        raise UsageError(f"{merged.id} is not merged, so there is nothing to take back.")
    if run.incumbent != merged.id:
        raise UsageError(
            f"{run.incumbent} was merged after {merged.id}, and only the last merge can be taken back (any other "
            f"main was never trained as it stands). First: darwin revert {run.incumbent}"
        )
    before = memory.individuals[earlier.incumbent]
    commit = lineage.merge_commit(
        run.main, before, ordinal=run.settled, person=decision.by, reason=decision.reason, reverts=merged
    )
    previous = run.main
    changed = {"main": commit, "incumbent": before.id, "champion": _proven(memory, before.id)}
    return _move_main(memory, lineage, decision, run.model_copy(update=changed), previous)


def _move_main(memory: Memory, lineage: Lineage, decision: Decision, run: Run, previous: str) -> Decision:
    """Record a decision in the transaction that moves ``main``; it fails if ``main`` is not where it was."""
    lineage.refuse_moved(previous)
    decision = decision.model_copy(update={"merge_commit": run.main})
    memory.record(decision, run, refs={MAIN: f"{run.main} {previous}"})  # git checks the old value
    memory.project_derived()
    lineage.check_out(previous, run.main)
    return decision


def _edit(
    memory: Memory,
    lineage: Lineage,
    contender: Individual,
    decision: Decision,
    texts: dict[str, str],
    run: Run,
) -> Decision:
    """Make a person's edit an individual of its own: it is trained and judged as any other before it can merge."""
    files = lineage.files(contender.commit)
    own = {path: text.encode() for path, text in texts.items() if path in evolvable(files)}
    edited = {**files, **own}
    if edited == files:
        raise UsageError(f"The edit of {contender.id} changes nothing, so nothing was recorded.")
    number = 1 + sum(i.operator == EDIT and i.parents == (contender.id,) for i in memory.individuals.values())
    identifier = f"{contender.id}-edit{number}"
    subject = f"Edit {contender.id}" + (f": {decision.reason}" if decision.reason else "")
    child = committed(
        lineage,
        edited,
        [contender],
        signature=decision.by,
        id=identifier,
        ordinal=run.settled,
        generation=contender.generation,
        owner=contender.author,
        author=decision.by,
        operator=EDIT,
        subject=subject,
        hypothesis=decision.reason,
    )
    decision = decision.model_copy(update={"edited": identifier})
    memory.record(child, decision, run, refs={individual_ref(identifier): child.commit})
    memory.project_derived()
    return decision


def _change(lineage: Lineage, memory: Memory, contender: Individual) -> Change:
    """What merging would change. Files that a person has granted may come, and be named in the contract."""
    main, granted = memory.run.main, new_files(memory.requests)
    before = lineage.files(main)[GENOME_FILE].decode()
    after = lineage.files(contender.commit).get(GENOME_FILE, b"").decode(errors="replace")
    allowed = {*Contract.parse(before).files, *granted}
    if before != after and only_names_more(before, after, granted):
        allowed.add(GENOME_FILE)
    return changes.read(lineage.repo, main, contender.commit, allowed)


def _kept(earlier: Decision | None) -> Decision | None:
    """What of an earlier decision is kept with the next: all but that nobody was there to decide."""
    return None if earlier is None or earlier.by == NOBODY else earlier


def _proven(memory: Memory, incumbent: str) -> str | None:
    """The incumbent as champion; None for the base, which beat nobody."""
    return incumbent if incumbent != memory.resolve("base").id else None
