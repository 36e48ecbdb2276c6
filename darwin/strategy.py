"""The strategy of a run: how parents are chosen and who survives, and what a control experiment leaves out."""

from __future__ import annotations

from dataclasses import dataclass

from darwin.memory.records import Run

SEARCHES = {
    "ga": "a population under tournament, crossover and archive",
    "greedy": "one script at a time, kept if its loss is lower, else discarded",
    "random": "any script so far is rewritten, good or bad",
    "proposals": "the base is rewritten each time: the best of so many proposals",
}
CONTROLS = {
    "reseeded": "unedited copies that differ by luck alone",
    "own-code": "every agent rewrites its own script",
    "no-memory": "no agent is shown what came of earlier trials",
    "no-knowledge": "techniques are offered without what was measured of them",
    "no-crossover": "no child has two parents",
    "no-archive": "only scripts of the population are rewritten",
    "no-ablation": "the champion keeps what may not last",
}


@dataclass(frozen=True)
class Strategy:
    """What variation and selection do: ``search`` is one of ``SEARCHES``, the rest is switched off by controls."""

    search: str = "ga"
    own_code: bool = False
    crossover: bool = True
    archive: bool = True
    ablation: bool = True

    @classmethod
    def of(cls, run: Run) -> Strategy:
        """The strategy of a run."""
        evolves = run.search == "ga" and run.control not in ("own-code", "reseeded")
        return cls(
            search=run.search,
            own_code=run.control == "own-code",
            crossover=evolves and run.control != "no-crossover",
            archive=evolves and run.control != "no-archive",
            ablation=run.search == "ga" and run.control not in ("reseeded", "no-ablation"),
        )


GA = Strategy()
