"""Births: agents rewrite one another's scripts, and each rewrite becomes a commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from darwin import requests
from darwin.advice import holding
from darwin.agents import Agent, Proposal, Refused, Task, fingerprint, rewrite
from darwin.agents.chat import ASKED_AGAIN, ChatAgent
from darwin.agents.knowledge import rivals
from darwin.agents.settings import numbers
from darwin.ahead import First, asked_ahead
from darwin.briefing import brief
from darwin.committed import committed
from darwin.events import step
from darwin.evolution import Evolution
from darwin.genome import evolvable
from darwin.granted import room, script, used
from darwin.lineage import individual_ref, one_line
from darwin.memory.effects import Effects, change_by
from darwin.memory.feedback import rejected
from darwin.memory.lessons import steps
from darwin.memory.records import AgentCard, Expectation, Individual, Lesson, Status
from darwin.memory.requests import Kind, Wish, granted
from darwin.merge import collisions, common_ancestor, merge
from darwin.repairs import repaired, resolved
from darwin.sandbox import Contract
from darwin.screen import safe
from darwin.variation import Birth


@dataclass(frozen=True)
class Outlook:
    """What is known before a batch of births: the model of all trials so far, and what follows from it."""

    effects: Effects
    lessons: tuple[Lesson, ...]
    has: Mapping[str, Mapping[str, float]]
    steps: Mapping[str, float]


def outlook(evolution: Evolution, before: int) -> Outlook:
    """What authors may know of the individuals born before an ordinal; nothing with ``--control no-memory``."""
    memory = evolution.memory
    has = memory.features()
    if evolution.run.control == "no-memory":
        return Outlook(memory.prior_effects(), (), has, {})
    found = memory.effects(before)
    return Outlook(found, memory.lessons(before), has, steps(memory.born_before(before)))


@step
def bear(evolution: Evolution, births: Sequence[Birth]) -> list[Individual]:
    """Have each planned child written, committed and recorded; those already born are taken as they are.

    What an author is shown stops before the batch it is born in, so that a run which was killed in the
    middle of a batch goes on exactly as it would have.
    """
    memory, before = evolution.memory, births[0].ordinal
    missing = [birth for birth in births if birth.id not in memory.individuals]
    if missing:
        known = outlook(evolution, before)
        ahead = _ask_ahead(evolution, missing, before, known)
    for birth in missing:
        wish = None
        if evolution.run.control == "reseeded":
            child = _copy(evolution, birth)
        else:
            with evolution.events.step("write", individual=birth.id):
                merged = _cross(evolution, birth, before, known) or _resolve(evolution, birth, before, known)
                begun = ahead.get(birth.id)
                child, wish = (merged, None) if merged else _write(evolution, birth, before, known, begun)
        filed = requests.asked(evolution, child, wish)
        earlier = [memory.requests.get(request.id) for request in filed]
        memory.record(child, *filed, refs={individual_ref(child.id): child.commit})
        evolution.screen.born(child, memory)
        for request, one in zip(filed, earlier, strict=True):
            requests.announce(evolution, one, request)
    return [memory.individuals[birth.id] for birth in births]


def task_for(evolution: Evolution, birth: Birth, before: int, known: Outlook) -> Task:
    """What a birth's author is given: the target's script, and what is known from births before ordinal ``before``."""
    memory, target = evolution.memory, evolution.memory.individuals[birth.target]
    files = _script(evolution, target, before)
    contract = Contract.parse(files["genome.toml"].decode())
    agent = evolution.agents[birth.author]
    card = AgentCard(name=agent.name, kind=agent.kind, temperament=agent.temperament)
    has = known.has[target.id]
    return Task(
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
        applied=techniques_in(has),
        lessons=known.lessons,
        own=memory.agent(card, 0 if evolution.run.control == "no-memory" else before),
        generation=birth.generation,
        effects=known.effects,
        has=has,
        gain=_gain(evolution, target),
        steps=known.steps,
        aim=birth.aim,
        advice=tuple(one.text for one in holding(evolution.run, agent.name, before)),
        rejected=rejected(memory.individuals, memory.decisions, before),
        requests=requests.told(memory, before),
        room=room(evolution.run),
        packages=tuple(r.wanted.partition("==")[0] for r in granted(memory.requests, Kind.PACKAGE, before)),
        data=tuple(r.given for r in granted(memory.requests, Kind.DATASET, before)),
    )


def _ask_ahead(
    evolution: Evolution, births: Sequence[Birth], before: int, known: Outlook
) -> dict[str, tuple[Task, First]]:
    """Have the batch's models asked at once, by birth what each was given; not of births that may yet become
    crossovers, which take no model."""
    asking = [b for b in births if isinstance(evolution.agents[b.author], ChatAgent) and not b.partners]
    if len(asking) < 2 or evolution.run.control == "reseeded":
        return {}
    tasks = [
        replace(task_for(evolution, b, before, known), briefing=brief(evolution, b, before)) for b in asking
    ]
    firsts = asked_ahead(evolution, tasks)
    for birth in asking if firsts else ():
        _say_who_asks(evolution, birth)
    return {task.child: (task, firsts[task.child]) for task in tasks if firsts}


def _say_who_asks(evolution: Evolution, birth: Birth) -> None:
    agent = evolution.agents[birth.author]
    if isinstance(agent, ChatAgent):
        evolution.screen.say(f"{birth.id:14} {agent.name} asks {agent.member.model} about {birth.target}.")


def _write(
    evolution: Evolution, birth: Birth, before: int, known: Outlook, begun: tuple[Task, First] | None = None
) -> tuple[Individual, Wish | None]:
    """The child that its author writes, and what the author asks people for beside; ``begun`` if it was asked ahead."""
    memory, agent = evolution.memory, evolution.agents[birth.author]
    files = _script(evolution, memory.individuals[birth.target], before)
    task, first = begun or (task_for(evolution, birth, before, known), None)
    errors: tuple[str, ...] = ()
    unusable = False
    try:
        if isinstance(agent, ChatAgent):
            if first is None:
                _say_who_asks(evolution, birth)
                task = replace(task, briefing=brief(evolution, birth, before))
            proposal = rewrite(
                agent, task, memory.has_code, attempts=ASKED_AGAIN + 1, first=first,
                say=lambda why: evolution.screen.say(f"{birth.id:14} {agent.name} is asked again: {safe(why, 300)}"),
            )  # fmt: skip
            proposal, errors = repaired(evolution, agent, task, proposal, files)
        else:
            proposal = rewrite(agent, task, memory.has_code)
        status, reason = Status.BORN, None
    except Refused as refusal:
        proposal, status, reason = refusal.proposal, Status.REFUSED, refusal.reason
        unusable = refusal.unusable
    written = {**files, **{path: text.encode() for path, text in proposal.files.items()}}
    child = _commit(evolution, birth, written, proposal, status, reason)
    return _with_model(evolution, child, agent, errors, unusable), proposal.wish


def _with_model(
    evolution: Evolution, child: Individual, agent: Agent, errors: tuple[str, ...], unusable: bool = False
) -> Individual:
    """The child with what its model was, cost and had to repair, and whether it wrote nothing that could be used."""
    if not isinstance(agent, ChatAgent) or evolution.gateway is None:
        return child
    usage = evolution.gateway.ledger.total(child=child.id)
    made = {"model": agent.member.model, "usage": usage, "repairs": errors, "unusable": unusable}
    return child.model_copy(update=made)


def _script(evolution: Evolution, individual: Individual, before: int) -> dict[str, bytes]:
    """An individual's genome with the files that were granted before a birth."""
    return script(evolution.memory, evolution.workspace.lineage, individual, before)


def _gain(evolution: Evolution, target: Individual) -> float:
    """Nats that a script is ahead of the base on the seed that all were measured on."""
    base = evolution.base
    return 0.0 if base.loss is None or target.loss is None else base.loss - target.loss


def _cross(evolution: Evolution, birth: Birth, before: int, known: Outlook) -> Individual | None:
    """The target merged with the first partner that merges into something new; None where none does."""
    memory = evolution.memory
    target = memory.individuals[birth.target]
    ours = _script(evolution, target, before)
    for partner in (memory.individuals[id] for id in birth.partners):
        if rivals(techniques_in({**known.has[partner.id], **known.has[target.id]})):
            continue
        common = common_ancestor(target, partner, memory.individuals)
        merged = merge(ours, _script(evolution, common, before), _script(evolution, partner, before))
        if merged is None or memory.has_code(fingerprint(evolvable(merged))):
            continue
        proposal = _crossing(evolution, target, partner, known, (evolvable(ours), evolvable(merged)))
        return _commit(evolution, birth, merged, proposal, Status.BORN, None, "crossover", (partner,))
    return None


def _resolve(evolution: Evolution, birth: Birth, before: int, known: Outlook) -> Individual | None:
    """The target merged with the first partner whose changes collide with its own, if its author asks a model."""
    memory, agent = evolution.memory, evolution.agents[birth.author]
    if not isinstance(agent, ChatAgent):
        return None
    target = memory.individuals[birth.target]
    ours = _script(evolution, target, before)
    for partner in (memory.individuals[id] for id in birth.partners):
        common = common_ancestor(target, partner, memory.individuals)
        marked = collisions(ours, _script(evolution, common, before), _script(evolution, partner, before))
        if marked is None:
            continue
        evolution.screen.say(f"{birth.id:14} {agent.name} asks {agent.member.model} to merge {partner.id}.")
        task = replace(task_for(evolution, birth, before, known), briefing=brief(evolution, birth, before))
        files = resolved(evolution, agent, task, evolvable(marked), (target, partner))
        if files is None or memory.has_code(fingerprint(files)):
            return None
        proposal = _crossing(evolution, target, partner, known, (evolvable(ours), files))
        proposal, errors = repaired(evolution, agent, task, proposal, ours)
        written = {**ours, **{path: text.encode() for path, text in proposal.files.items()}}
        child = _commit(evolution, birth, written, proposal, Status.BORN, None, "crossover", (partner,))
        return _with_model(evolution, child, agent, errors)
    return None


def _crossing(
    evolution: Evolution,
    target: Individual,
    partner: Individual,
    known: Outlook,
    files: tuple[Mapping[str, str], Mapping[str, str]],
) -> Proposal:
    """A crossover in the words of a proposal: what the partner's side brings to the target's files."""
    mine, theirs = known.has[target.id], known.has[partner.id]
    techniques = tuple(t for t in techniques_in(theirs) if f"technique:{t}" not in mine)
    before, after = (numbers(texts) for texts in files)
    settings = {
        name: (before[name][1], after[name][1])
        for name in before.keys() & after.keys()
        if f"setting:{name}" in theirs and before[name][1] != after[name][1]
    }
    settings = dict(sorted(settings.items()))
    found = known.effects.of(change_by(techniques, settings), mine, _gain(evolution, target))
    brought = ", ".join([*techniques, *(f"{name} {new:g}" for name, (_, new) in settings.items())])
    return Proposal(
        files=files[1],
        subject=f"Cross with {partner.id}: {brought or 'its changes'}",
        hypothesis=f"{target.id} lacks what {partner.id} has: {brought or 'changes without a name'}. Expected to "
        f"change log perplexity by {found.short:+.3f}, at six times the budget by {found.long:+.3f}.",
        expected=Expectation(log_perplexity=round(found.short, 4), mfu=round(found.mfu, 4)),
        techniques=techniques,
        settings=settings,
        shown=(f"individual:{target.id}", f"individual:{partner.id}"),
    )


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
    partners: Sequence[Individual] = (),
) -> Individual:
    lineage, target = evolution.workspace.lineage, evolution.memory.individuals[birth.target]
    expected = proposal.expected
    outlook = (
        [f"Expected: log perplexity {expected.log_perplexity:+.3f}"]
        if expected.log_perplexity is not None
        else []
    )
    return committed(
        lineage,
        files,
        (target, *partners),
        body=[proposal.hypothesis, *outlook],
        id=birth.id,
        ordinal=birth.ordinal,
        generation=birth.generation,
        owner=birth.owner,
        author=birth.author,
        operator=operator,
        subject=one_line(proposal.subject),
        techniques=proposal.techniques,
        settings=dict(proposal.settings),
        hypothesis=proposal.hypothesis,
        expected=expected,
        shown=proposal.shown,
        family=proposal.family,
        status=status,
        reason=reason,
        requests=used(evolution.memory, lineage, target, files),
    )


def techniques_in(has: Mapping[str, float]) -> tuple[str, ...]:
    """The ids of the techniques among what a script has (idea -> amount), oldest first."""
    return tuple(i.removeprefix("technique:") for i in has if i.startswith("technique:") and has[i] > 0)
