"""Analysis: after its trials, a child's author says what is to be learnt from them."""

from __future__ import annotations

from collections.abc import Sequence

from darwin.agents.chat import ChatAgent
from darwin.agents.errors import Unanswered
from darwin.briefing import rewritten
from darwin.events import step
from darwin.evolution import Evolution
from darwin.memory.records import Individual, Status
from darwin.screen import safe

SIBLINGS = 6
DONE = (Status.TRAINED, Status.FAILED, Status.DISQUALIFIED)


@step
def analyse(evolution: Evolution, children: Sequence[Individual]) -> None:
    """Ask the author of each child that a model wrote for a lesson, and record it; one without evidence is refused."""
    memory, gateway = evolution.memory, evolution.gateway
    if gateway is None or evolution.run.control is not None:
        return
    for child in (memory.individuals[c.id] for c in children):
        agent = evolution.agents[child.author or ""]
        if not isinstance(agent, ChatAgent) or child.finding is not None or child.status not in DONE:
            continue
        if gateway.stopped:
            return
        parent = memory.individuals[child.parents[0]]
        siblings = [
            i
            for i in memory.born_before(child.ordinal)
            if parent.id in i.parents and i.status is Status.TRAINED
        ]
        noise = evolution.run.noise.deviation if evolution.run.noise else None
        try:
            finding = agent.analyse(
                rewritten(evolution, child),
                rewritten(evolution, parent),
                siblings[-SIBLINGS:],
                noise,
                child.ordinal,
            )
        except Unanswered as error:
            evolution.screen.say(f"{child.id:14} stays without a lesson: {safe(str(error), 300)}", "yellow")
            finding = None
        else:
            words = (
                "a lesson was refused: it cites no trial of it."
                if finding is None
                else f"lesson: {safe(finding.text)}"
            )
            evolution.screen.say(f"{child.id:14} {words}")
        usage = gateway.ledger.total(child=child.id)
        memory.record(child.model_copy(update={"finding": finding, "usage": usage}))
