"""Births: agents rewrite one another's scripts, and each rewrite becomes a commit."""

from __future__ import annotations

from collections.abc import Sequence

from darwin.advice import holding
from darwin.agents import Proposal, Refused, Task, fingerprint, rewrite
from darwin.evolution import Evolution
from darwin.genome import evolvable
from darwin.lineage import individual_ref
from darwin.memory.feedback import rejected
from darwin.memory.records import AgentCard, Expectation, Individual, Status
from darwin.sandbox import Contract
from darwin.variation import Birth


def bear(evolution: Evolution, births: Sequence[Birth]) -> list[Individual]:
    """Have each planned child written, committed and recorded; those already born are taken as they are.

    What an author is shown stops before the batch it is born in, so that a run which was killed in the
    middle of a batch goes on exactly as it would have.
    """
    before = births[0].ordinal
    for birth in births:
        if birth.id not in evolution.memory.individuals:
            child = (
                _copy(evolution, birth)
                if evolution.run.control == "reseeded"
                else _write(evolution, birth, before)
            )
            evolution.memory.record(child, refs={individual_ref(child.id): child.commit})
            evolution.screen.born(child, evolution.memory)
    return [evolution.memory.individuals[birth.id] for birth in births]


def _write(evolution: Evolution, birth: Birth, before: int) -> Individual:
    memory, target = evolution.memory, evolution.memory.individuals[birth.target]
    files = evolution.workspace.lineage.files(target.commit)
    contract = Contract.parse(files["genome.toml"].decode())
    agent = evolution.agents[birth.author]
    card = AgentCard(name=agent.name, kind=agent.kind, temperament=agent.temperament)
    task = Task(
        child=birth.id,
        attempt=0,
        agent=agent.name,
        temperament=agent.temperament,
        seed=birth.seed,
        target=target.id,
        owner=birth.owner,
        files=evolvable(files),
        fixed=tuple(sorted(contract.settings_set_by_trial)),
        context=contract.context,
        applied=techniques_of(target, memory.individuals),
        lessons=memory.lessons(before),
        own=memory.agent(card, before),
        advice=tuple(one.text for one in holding(evolution.run, agent.name, before)),
        rejected=rejected(memory.individuals, memory.decisions, before),
    )
    known = {i.code for i in memory.individuals.values()}
    try:
        proposal = rewrite(agent, task, known.__contains__)
        status, reason = Status.BORN, None
    except Refused as refusal:
        proposal, status, reason = refusal.proposal, Status.REFUSED, refusal.reason
    written = {**files, **{path: text.encode() for path, text in proposal.files.items()}}
    return _commit(evolution, birth, written, proposal, status, reason)


def _copy(evolution: Evolution, birth: Birth) -> Individual:
    """The control's child: an unedited copy, whose trials are salted by its own id."""
    target = evolution.memory.individuals[birth.target]
    proposal = Proposal(
        files={},
        subject=f"Copy {target.id} unedited",
        hypothesis="Control: any difference to the script it copies is luck.",
        expected=Expectation(log_perplexity=0.0),
    )
    return _commit(
        evolution,
        birth,
        evolution.workspace.lineage.files(target.commit),
        proposal,
        Status.BORN,
        None,
        "reseeded",
    )


def _commit(
    evolution: Evolution,
    birth: Birth,
    files: dict[str, bytes],
    proposal: Proposal,
    status: Status,
    reason: str | None,
    operator: str = "mutation",
) -> Individual:
    lineage, target = evolution.workspace.lineage, evolution.memory.individuals[birth.target]
    expected = proposal.expected
    outlook = (
        [f"Expected: log perplexity {expected.log_perplexity:+.3f}"]
        if expected.log_perplexity is not None
        else []
    )
    commit, tree = lineage.commit(
        files,
        [target.commit],
        ordinal=birth.ordinal,
        author=birth.author,
        subject=proposal.subject,
        body=[proposal.hypothesis, *outlook],
        trailers=[
            ("Darwin-Operator", operator),
            ("Darwin-Owner", birth.owner),
            ("Darwin-Generation", str(birth.generation)),
            *(("Darwin-Technique", technique) for technique in proposal.techniques),
        ],
    )
    return Individual(
        id=birth.id,
        ordinal=birth.ordinal,
        generation=birth.generation,
        commit=commit,
        tree=tree,
        code=fingerprint(evolvable(files)),
        parents=(target.id,),
        owner=birth.owner,
        author=birth.author,
        operator=operator,
        subject=proposal.subject,
        techniques=proposal.techniques,
        settings=dict(proposal.settings),
        hypothesis=proposal.hypothesis,
        expected=expected,
        shown=proposal.shown,
        status=status,
        reason=reason,
    )


def techniques_of(individual: Individual, individuals: dict[str, Individual]) -> tuple[str, ...]:
    """The techniques in an individual's script: its own and its ancestors', oldest first."""
    found: list[str] = []
    line: Individual | None = individual
    while line is not None:
        found = [*line.techniques, *found]
        line = individuals.get(line.parents[0]) if line.parents else None
    return tuple(dict.fromkeys(found))
