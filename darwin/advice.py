"""Advice: what a person tells the agents while they work. It waits as a file for the holder of the workspace, who makes
it a record; from the next birth on it is in the tasks it is meant for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from darwin.answers import FOLDER
from darwin.memory import Memory
from darwin.memory.records import Advice, Record, Run
from darwin.memory.store import to_json, write_atomically

WAITING = FOLDER / "advice"


class Withdrawal(Record):
    """Advice taken back, by its id."""

    withdraw: str


def advice(text: str, by: str, agent: str | None, number: int) -> Advice:
    """New advice, named by its content and by how much was given before it."""
    name = hashlib.sha256(f"{number}/{agent}/{text}/{by}".encode()).hexdigest()[:6]
    return Advice(id=name, text=text, by=by, agent=agent)


def post(workspace: Path, told: Advice | Withdrawal) -> None:
    """Leave advice, or its withdrawal, for the holder of the workspace."""
    name = f"{told.id}.told" if isinstance(told, Advice) else f"{told.withdraw}.withdrawn"
    write_atomically(workspace / WAITING / name, to_json(told))


def take_up(memory: Memory, workspace: Path, now: Callable[[], Run]) -> list[str]:
    """Make records of what waits, each once, and say so. Call with the workspace locked."""
    said = []
    for path in sorted((workspace / WAITING).glob("[!.]*")):
        known = {one.id: one for one in memory.run.advice}
        try:
            if path.suffix == ".told":
                one = Advice.model_validate_json(path.read_bytes())
                fresh = one.id not in known
                known.setdefault(one.id, one.model_copy(update={"settled": memory.run.settled}))
                said += [f"Told {one.agent or 'every agent'} from now on ({one.id}): {one.text}"] * fresh
            else:
                named = Withdrawal.model_validate_json(path.read_bytes()).withdraw
                taken = known.get(named)
                if taken is not None and taken.withdrawn is None:
                    known[named] = taken.model_copy(update={"withdrawn": memory.run.settled})
                    said.append(f"Withdrawn ({named}): {taken.text}")
        except ValidationError:
            said.append(f"{path.name} was no advice that can be read, and is dropped.")
        if tuple(known.values()) != memory.run.advice:
            memory.record(now().model_copy(update={"advice": tuple(known.values())}))
        path.unlink(missing_ok=True)
    return said


def holding(run: Run, agent: str | None = None, before: int | None = None) -> tuple[Advice, ...]:
    """The advice that holds: for an agent's child of ordinal ``before`` on, or all there is now."""
    return tuple(
        one
        for one in run.advice
        if (one.withdrawn is None or (before is not None and one.withdrawn >= before))
        and (before is None or one.settled < before)
        and (agent is None or one.agent in (None, agent))
    )
