"""The kind that needs no model: techniques with ready edits, and steps of numeric settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from darwin.agents import edits, settings
from darwin.agents.agent import Ask, Number, Proposal, Task
from darwin.agents.errors import EditError
from darwin.agents.inside import main
from darwin.agents.knowledge import Technique, techniques
from darwin.memory.lessons import ideas
from darwin.memory.records import Attempt, Expectation, Status

LONGEST_SUBJECT = 72
Tally = dict[str, dict[str, Any]]  # key of an idea: effect (log perplexity or None), tried, failed


@dataclass(frozen=True)
class RulesAgent:
    """Applies what its program chose by prior, memory and temperament (inside/rules.py).

    ``ask`` is how to reach that program: in the agent's container, or here.
    """

    name: str
    temperament: str
    kind: str = "rules"
    ask: Ask = field(default=main.answer, compare=False, repr=False)

    def propose(self, task: Task) -> Proposal:
        """One or two ideas applied to ``task.files``; the files unchanged if nothing fits them."""
        fitting = {technique.id: technique for technique in fit(task)}
        numbers = _numbers(task.files)
        lessons = {
            lesson.id: {"effect": lesson.effect, "tried": lesson.tried, "failed": lesson.failed}
            for lesson in task.lessons
        }
        answer = self.ask(
            {
                "kind": self.kind,
                "seed": task.seed,
                "child": task.child,
                "attempt": task.attempt,
                "temperament": self.temperament,
                "context": task.context,
                "techniques": [_option(technique) for technique in fitting.values()],
                "settings": {name: value for name, (_, value) in numbers.items()},
                "fixed": list(task.fixed),
                "lessons": lessons,
                "own": tally(task.own.attempts),
                "rejected": dict(task.rejected),
            }
        )
        files = dict(task.files)
        applied: list[Technique] = []
        for technique in (fitting[id] for id in answer["techniques"]):
            try:
                files = edits.apply(technique.edits, files)
            except EditError:  # the two ideas touch the same lines: the first stands alone
                continue
            applied.append(technique)
        changed: dict[str, tuple[Number, Number]] = {}
        for name, value in answer["settings"].items():
            file, old = numbers[name]
            now = settings.numeric(files[file]).get(name)
            if now == old:  # unless a technique has just changed it
                files[file] = settings.change(files[file], name, value)
                changed[name] = (old, value)
        return Proposal(
            files=files,
            subject=subject(applied, changed),
            hypothesis=answer["hypothesis"],
            expected=Expectation(log_perplexity=answer["expected"], mfu=_mfu(applied)),
            techniques=tuple(technique.id for technique in applied),
            settings=changed,
            shown=_shown(task),
        )


def fit(task: Task) -> list[Technique]:
    """The techniques this script lacks, that conflict with none it has, and whose edits apply to it."""
    known = {technique.id: technique for technique in techniques()}
    excluded = set(task.applied)
    for id in task.applied:
        excluded |= set(known[id].conflicts) if id in known else set()
    return [
        technique
        for technique in known.values()
        if technique.id not in excluded
        and not set(technique.conflicts) & set(task.applied)
        and _applies(technique, task.files)
    ]


def tally(attempts: Iterable[Attempt]) -> Tally:
    """An agent's own attempts by idea; one of several ideas shares its effect out evenly among them."""
    effects: dict[str, list[float]] = {}
    result: Tally = {}
    for attempt in attempts:
        if attempt.status in (Status.BORN, Status.REFUSED):
            continue  # never measured
        keys = ideas(attempt.techniques, attempt.settings)
        for key in keys:
            seen = result.setdefault(key, {"effect": None, "tried": 0, "failed": 0})
            seen["tried"] += 1
            if attempt.delta is None:
                seen["failed"] += 1
            else:
                effects.setdefault(key, []).append(attempt.delta / len(keys))
                seen["effect"] = sum(effects[key]) / len(effects[key])
    return result


def subject(applied: Iterable[Technique], changed: Mapping[str, tuple[Number, Number]]) -> str:
    """A commit subject of at most 72 characters, imperative."""
    whole = [technique.changes for technique in applied]
    short = [technique.id for technique in applied]
    for name, (old, new) in changed.items():
        whole.append(f"{'Raise' if new > old else 'Lower'} {name} from {old:g} to {new:g}")
        short.append(f"{name} {new:g}")
    if not whole:
        return "Change nothing: no idea fits this script"
    text = whole[0] + "".join(f", {part[0].lower()}{part[1:]}" for part in whole[1:])
    if len(text) > LONGEST_SUBJECT:
        text = "Combine " + " and ".join(short)
    return text if len(text) <= LONGEST_SUBJECT else text[: LONGEST_SUBJECT - 1] + "…"


def _option(technique: Technique) -> dict[str, Any]:
    return {
        "id": technique.id,
        "title": technique.title,
        "family": technique.family,
        "effect": technique.effect.log_perplexity,
        "price": technique.price,
        "conflicts": list(technique.conflicts),
    }


def _applies(technique: Technique, files: Mapping[str, str]) -> bool:
    try:
        edits.apply(technique.edits, files)
    except EditError:
        return False
    return True


def _numbers(files: Mapping[str, str]) -> dict[str, tuple[str, Number]]:
    """File and value of each numeric setting; a name that two files share is left alone."""
    found: dict[str, tuple[str, Number]] = {}
    shared: set[str] = set()
    for file in sorted(files):
        if not file.endswith(".py"):
            continue
        for name, value in settings.numeric(files[file]).items():
            shared |= {name} & found.keys()
            found[name] = (file, value)
    return {name: place for name, place in found.items() if name not in shared}


def _mfu(applied: Iterable[Technique]) -> float | None:
    effects = [technique.effect.mfu for technique in applied if technique.effect.mfu is not None]
    return round(sum(effects), 4) if effects else None


def _shown(task: Task) -> tuple[str, ...]:
    return (
        f"individual:{task.target}",
        *(f"lesson:{lesson.id}" for lesson in task.lessons),
        *(f"attempt:{attempt.child}" for attempt in task.own.attempts),
    )
