"""The kind that needs no model: techniques with ready edits, and steps of numeric settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from darwin.agents import edits, settings
from darwin.agents.agent import Ask, Number, Proposal, Task
from darwin.agents.errors import EditError
from darwin.agents.inside import main
from darwin.agents.inside.rules import TEMPERAMENTS
from darwin.agents.knowledge import Technique, techniques
from darwin.agents.mixing import mixing
from darwin.memory.effects import change_by
from darwin.memory.lessons import FIRST_STEP, ideas
from darwin.memory.records import Attempt, Expectation, Status
from darwin.memory.requests import Kind, Wish

LONGEST_SUBJECT = 72


@dataclass(frozen=True)
class RulesAgent:
    """Applies what its program chose by what is believed and its temperament (inside/rules.py).

    ``ask`` is how to reach that program: in the agent's container, or here.
    """

    name: str
    temperament: str
    kind: str = "rules"
    ask: Ask = field(default=main.answer, compare=False, repr=False)

    def propose(self, task: Task) -> Proposal:
        """One to three ideas applied to ``task.files``; the files unchanged if nothing fits them."""
        fitting = {technique.id: technique for technique in fit(task)}
        numbers = settings.numbers(task.files)
        reach = TEMPERAMENTS[self.temperament]["reach"]
        steps = {name: reach * task.steps.get(name, FIRST_STEP) for name in numbers}
        answer = self.ask(
            {
                "kind": self.kind,
                "seed": task.seed,
                "child": task.child,
                "attempt": task.attempt,
                "generation": task.generation,
                "aim": task.aim,
                "temperament": self.temperament,
                "context": task.context,
                "techniques": [_option(technique) for technique in fitting.values()],
                "settings": {name: value for name, (_, value) in numbers.items()},
                "steps": steps,
                "fixed": list(task.fixed),
                "beliefs": beliefs(task, fitting, steps),
                "own": tally(task.own.attempts),
                "rejected": dict(task.rejected),
                "room": task.room,
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
            expected=_expected(task, applied, changed),
            techniques=tuple(technique.id for technique in applied),
            settings=changed,
            shown=_shown(task),
            wish=wish(task, answer.get("at_limit"), steps),
        )


def wish(task: Task, setting: str | None, steps: Mapping[str, float]) -> Wish | None:
    """A larger budget, where a setting that helps is at its limit for this one."""
    idea = f"setting:{setting}:up"
    known = {lesson.id: lesson for lesson in task.lessons}
    if setting is None or setting not in steps or idea not in known:
        return None
    found = task.effects.of({f"setting:{setting}": steps[setting]}, task.has, task.gain)
    trials = known[idea].tried
    return Wish(
        kind=Kind.BUDGET,
        wanted="x2",
        reason=f"{setting} helps by growing ({trials} trial{'s' * (trials != 1)}) and is at its limit for this budget",
        expected=Expectation(log_perplexity=round(found.long, 4)),
        evidence=known[idea].supporting,
    )


def fit(task: Task) -> list[Technique]:
    """The techniques this script lacks, that conflict with none it has, and whose edits apply to it."""
    known = {technique.id: technique for technique in (*techniques(), *mixing(task.data))}
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


def beliefs(task: Task, fitting: Iterable[str], steps: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """What is believed of each idea for this script, by lesson id: effects with deviations, and trials so far."""
    changes: dict[str, dict[str, float]] = {f"technique:{id}": {f"technique:{id}": 1.0} for id in fitting}
    for name, step in steps.items():
        changes[f"setting:{name}:up"] = {f"setting:{name}": step}
        changes[f"setting:{name}:down"] = {f"setting:{name}": -step}
    tried = {lesson.id: lesson.tried - lesson.failed for lesson in task.lessons}
    return {
        key: {**asdict(task.effects.of(change, task.has, task.gain)), "tried": tried.get(key, 0)}
        for key, change in changes.items()
    }


def tally(attempts: Iterable[Attempt]) -> dict[str, dict[str, int]]:
    """An agent's own attempts that were measured, by idea: how many, and how many of them failed."""
    result: dict[str, dict[str, int]] = {}
    for attempt in attempts:
        if attempt.status not in (Status.TRAINED, Status.FAILED):
            continue
        for key in ideas(attempt.techniques, attempt.settings):
            seen = result.setdefault(key, {"tried": 0, "failed": 0})
            seen["tried"] += 1
            seen["failed"] += attempt.status is Status.FAILED
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
        "conflicts": list(technique.conflicts),
    }


def _applies(technique: Technique, files: Mapping[str, str]) -> bool:
    try:
        edits.apply(technique.edits, files)
    except EditError:
        return False
    return True


def _expected(
    task: Task, applied: Iterable[Technique], changed: Mapping[str, tuple[Number, Number]]
) -> Expectation:
    """What the model expects of exactly what was applied, at the run's budget."""
    change = change_by((technique.id for technique in applied), changed)
    if not change:
        return Expectation()
    found = task.effects.of(change, task.has, task.gain)
    return Expectation(log_perplexity=round(found.short, 4), mfu=round(found.mfu, 4))


def _shown(task: Task) -> tuple[str, ...]:
    return (
        f"individual:{task.target}",
        *(f"lesson:{lesson.id}" for lesson in task.lessons),
        *(f"attempt:{attempt.child}" for attempt in task.own.attempts),
    )
