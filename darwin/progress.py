"""Progress: how far a run is and what it still costs, in the few lines that a terminal shows while it goes on."""

from __future__ import annotations

from darwin import plan
from darwin.evolution import Evolution
from darwin.gate import waiting
from darwin.headline import best, headline
from darwin.memory.memory import describe_verdict
from darwin.spending import so_far


def progress(evolution: Evolution, target: int) -> list[str]:
    """The headline, how far it is and what it costs, models included, and what waits for a decision."""
    memory, run = evolution.memory, evolution.run
    total = target * len(run.population)
    ahead = plan.make(evolution, target).seconds
    found = best(memory)
    lines = [
        headline(memory),
        f"generation {min(run.generation + 1, target)} of {target}, {min(run.settled, total)} of {total} scripts; "
        f"{run.cpu_seconds:,.0f} CPU seconds, at most {ahead:,.0f} to come",
    ]
    if found.verdict is not None:
        lines.insert(1, f"{found.id} is {describe_verdict(found)}")
    if evolution.gateway is not None:
        lines.append(so_far(evolution.gateway.ledger.total(), run, target))
    queue = waiting(memory)
    if queue:
        how = "press g" if evolution.desk is not None else "darwin review"
        lines.append(f"1 change waits ({queue[-1].id}), {how}")
    return lines
