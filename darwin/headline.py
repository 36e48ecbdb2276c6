"""The headline: what an evolution has come to, in one line, the same wherever it is said."""

from __future__ import annotations

from darwin.memory import Memory
from darwin.memory.memory import percent
from darwin.memory.records import Individual, Outcome
from darwin.sandbox.budget import LARGER


def best(memory: Memory) -> Individual:
    """The champion, or else the best script of the population."""
    run = memory.run
    if run.champion is not None:
        return memory.individuals[run.champion]
    return min((memory.individuals[i] for i in run.population.values()), key=lambda i: i.rank)


def headline(memory: Memory) -> str:
    """For example ``best -21.0 % perplexity (1.58 nats, 2.28 bits/byte), confirmed; at 6 x: -9.0 %``."""
    if not memory.begun:
        return "nothing measured yet"
    one = best(memory)
    trial = one.trials[0] if one.trials else None
    if trial is None or trial.loss is None:
        return "nothing measured yet"
    if not one.parents:
        return f"no script beats the base yet ({trial.loss:.3f} nats)"
    units = f"{trial.loss:.3f} nats" + (
        f", {trial.bits_per_byte:.3f} bits/byte" if trial.bits_per_byte else ""
    )
    words = f"best {percent(one.delta.get('base', 0.0))} perplexity ({units})"
    proven = one.verdict is not None and one.verdict.outcome is Outcome.BETTER
    words += ", confirmed" if proven else ", not confirmed yet"
    if one.larger is None:
        return words + f"; at {LARGER} x: not tested yet"
    return words + f"; at {LARGER} x: {percent(one.larger.effect)}" + (", fading" if one.larger.fades else "")
