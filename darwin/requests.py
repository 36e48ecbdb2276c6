"""Requests: what agents lack and ask a person for, from the asking to what came of it.

An agent's wish is checked and filed with the birth it came with, in one transaction; equal wishes are one request. A
person's ruling is a file, and whoever holds the workspace's lock carries it out. Nothing here has a say in births until
something is granted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from darwin import packages
from darwin.answers import FOLDER
from darwin.errors import UsageError
from darwin.evolution import Evolution
from darwin.further import prepare
from darwin.layout import Move
from darwin.lineage import GENOME_FILE, one_line
from darwin.memory import Memory
from darwin.memory.memory import percent
from darwin.memory.records import Individual, Run
from darwin.memory.requests import Kind, Request, Ruling, State, Wish, filed, granted, identity, waiting
from darwin.memory.store import to_json, write_atomically
from darwin.sandbox import Contract, Dataset
from darwin.sandbox.budget import Budget, BudgetError
from darwin.screen import counted
from darwin.workspace import Workspace

RULINGS = FOLDER / "requests"
LONGEST_REASON, LONGEST_WANTED = 300, 200
MOST_BUDGET = 100
"""Times the present budget that a request may ask for."""

_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(==[A-Za-z0-9.+!]+)?")
_FILE = re.compile(r"[a-z][a-z0-9_]{0,39}\.py")
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([A-Za-z_]\w*)(?:\.[\w.]*)?'")


def checked(wish: Wish, run: Run) -> Wish:
    """The same wish in the one form that its kind has. Raises UsageError for one that means nothing."""
    wanted, reason = one_line(wish.wanted, LONGEST_WANTED), one_line(wish.reason, LONGEST_REASON)
    if not wanted or not reason:
        raise UsageError("A request says what is wanted, and why.")
    return wish.model_copy(update={"wanted": formed(wish.kind, wanted, run), "reason": reason})


def formed(kind: Kind, wanted: str, run: Run) -> str:
    """What is wanted, as its kind writes it. Raises UsageError for what means nothing."""
    match kind:
        case Kind.BUDGET:
            return larger_budget(wanted, run.budget)
        case Kind.FILE:
            return file_name(wanted)
        case Kind.PACKAGE:
            return package_name(wanted)
        case Kind.LAYOUT:
            return layout(wanted)
        case Kind.DATASET:
            return wanted


def larger_budget(text: str, present: str) -> str:
    """A budget of ``40s`` or ``x2`` (times the present one), as it is written. Raises UsageError."""
    now = Budget.parse(present)
    try:
        times = re.fullmatch(r"x(\d{1,3})", text.strip())
        wanted = now.times(int(times[1])) if times else Budget.parse(text)
    except BudgetError as error:
        raise UsageError(str(error)) from None
    if wanted.unit is not now.unit or not now.amount < wanted.amount <= MOST_BUDGET * now.amount:
        raise UsageError(
            f'Budget "{text}" cannot follow {present}: a request is for more of the same unit, at most '
            f"{MOST_BUDGET} times as much."
        )
    return str(wanted)


def file_name(text: str) -> str:
    """The name of a new file beside the script. Raises UsageError for one that could hide or shadow something."""
    name = text.strip()
    if not _FILE.fullmatch(name):
        raise UsageError(f'File "{name}": a new file is called like optim.py, without a folder.')
    if name.removesuffix(".py") in {*sys.stdlib_module_names, *packages.PROVIDED}:
        raise UsageError(f'File "{name}" would stand in the way of import {name.removesuffix(".py")}.')
    return name


def layout(text: str) -> str:
    """A layout as it is written: MLP, Block from model.py to blocks.py. Raises UsageError."""
    move = Move.parse(text)
    file_name(move.target)
    return str(move)


def package_name(text: str) -> str:
    """A package's name, with ``==version`` or without. Raises UsageError for what is none, or is there already."""
    wanted = text.strip()
    if not _PACKAGE.fullmatch(wanted):
        raise UsageError(f'Package "{wanted}" cannot be read. Write einops, or einops==0.8.1.')
    name = wanted.partition("==")[0].lower()
    if name in packages.PROVIDED or name in sys.stdlib_module_names:
        raise UsageError(f"{name} can be imported already.")
    return wanted


def asked(evolution: Evolution, child: Individual, wish: Wish | None) -> list[Request]:
    """What there is to record of a wish that came with a child; nothing of one that cannot be read."""
    if wish is None:
        return []
    memory = evolution.memory
    try:
        wish = checked(wish, evolution.run)
    except UsageError as error:
        evolution.screen.say(f"{child.author} asked for something that cannot be read: {error}", "yellow")
        return []
    before = memory.requests.get(identity(wish.kind, wish.wanted))
    found = filed(before, wish, child, {**memory.individuals, child.id: child})
    return [] if found is None else [found]


def announce(evolution: Evolution, before: Request | None, request: Request) -> None:
    """Say what is new for a person about a request: that it is open, or that one more agent asks."""
    if request.state is not State.OPEN:
        return
    if before is not None and before.state is State.OPEN and before.askers == request.askers:
        return
    last = request.askings[-1]
    again = (
        " again, as there is new evidence" if before is not None and before.state is not State.OPEN else ""
    )
    evolution.screen.say(
        f"{last.agent} asks{again} for {title(request)}: {last.reason} (darwin requests show {request.id})"
    )


def file(evolution: Evolution, child: Individual, *wishes: Wish) -> None:
    """File wishes by the author of a child that is recorded already."""
    for wish in wishes:
        for request in asked(evolution, child, wish):
            before = evolution.memory.requests.get(request.id)
            evolution.memory.record(request)
            announce(evolution, before, request)


def notice(evolution: Evolution, children: Iterable[Individual]) -> None:
    """File what children failed for want of: an import that is missing is asked for by the child's author."""
    for known in children:
        trials = (*known.all_trials, *([known.screening] if known.screening else []))
        errors = "\n".join((*known.repairs, *(trial.error or "" for trial in trials)))
        if known.author is None or "ModuleNotFoundError" not in errors:
            continue
        own = {Path(path).stem for path in evolution.workspace.lineage.files(known.commit)}
        for name in dict.fromkeys(_MISSING.findall(errors)):
            if name not in {*own, *sys.stdlib_module_names, *packages.PROVIDED}:
                reason = f"{known.id} imports {name}, and there is no such module"
                wish = Wish(kind=Kind.PACKAGE, wanted=name, reason=reason, evidence=(known.id,))
                file(evolution, known, wish)


def ruling_on(opened: Workspace, request: Request, state: State, reason: str) -> Ruling:
    """The next thing said to a request, by the person whose git identity the workspace has."""
    by, number = opened.lineage.person(), len(request.rulings) + 1
    return Ruling(request=request.id, number=number, state=state, by=by, reason=reason)


def grant(opened: Workspace, request: Request, use: str, reason: str, say: Callable[..., None]) -> Ruling:
    """The ruling that grants a request, with everything prepared that takes time. Raises UsageError."""
    memory = opened.memory
    contract = Contract.parse(opened.lineage.files(memory.run.main)[GENOME_FILE].decode())
    given = formed(request.kind, use or request.wanted, memory.run)
    found: dict[str, object] = {"given": given}
    match request.kind:
        case Kind.FILE if given in contract.files:
            raise UsageError(f"{given} may be written already.")
        case Kind.DATASET:
            found = _data(opened, request, use, contract.context)
        case Kind.PACKAGE:
            if list((opened.folder / RULINGS).glob("package-*.json")):
                raise UsageError(
                    "Another package was granted a moment ago. Wait until the run has taken it up."
                )
            named, lock = packages.prepare(given, opened.config, memory.requests, say)
            found = {"given": named, "lock": lock}
    return ruling_on(opened, request, State.GRANTED, reason).model_copy(update=found)


def _data(opened: Workspace, request: Request, use: str, context: int) -> dict[str, object]:
    if not use:
        raise UsageError(f"Say where the text is: darwin requests grant {request.id} --use FILE_OR_FOLDER")
    found = prepare(Path(use), Dataset.load(opened.config.data), context)
    if any(found.name == other.given for other in granted(opened.memory.requests, Kind.DATASET)):
        raise UsageError(f"There is a data set {found.name} already. Call this one by another name.")
    return {"given": found.name, "folder": str(found.folder), "digest": found.digest}


def post(workspace: Path, ruling: Ruling) -> None:
    """Leave a ruling for the holder of the workspace."""
    write_atomically(workspace / RULINGS / f"{ruling.request}.json", to_json(ruling))


def ruled(workspace: Path) -> set[str]:
    """The requests on which a ruling waits to be carried out."""
    return {path.stem for path in (workspace / RULINGS).glob("[!.]*.json")}


def take_up(memory: Memory, workspace: Path) -> list[str]:
    """Carry out the rulings that wait, each once, as far as that takes no trial; what was done, in sentences.

    Call with the workspace locked. Files, data sets and packages are there from the next birth on; a budget applies
    from the next generation, and a layout is tried by the run.
    """
    said = []
    for path in sorted((workspace / RULINGS).glob("[!.]*.json")):
        try:
            ruling = Ruling.model_validate_json(path.read_bytes())
        except ValidationError:
            said.append(f"{path.name} was no ruling that can be read, and is dropped.")
        else:
            said += _ruled(memory, ruling)
        path.unlink(missing_ok=True)
    return said


def _ruled(memory: Memory, ruling: Ruling) -> list[str]:
    request = memory.requests.get(ruling.request)
    ruling = ruling.model_copy(update={"settled": memory.run.settled})
    if request is None:
        return []
    if ruling.number <= len(
        request.rulings
    ):  # said before: carried out already, or by somebody else meanwhile
        same = request.rulings[ruling.number - 1].model_copy(update={"settled": ruling.settled}) == ruling
        return [] if same else [f"{request.id} was answered meanwhile; the later word changes nothing."]
    at_once = ruling.state is State.GRANTED and request.kind in AT_ONCE
    state = State.DONE if at_once else ruling.state
    ruled = request.model_copy(update={"state": state, "rulings": (*request.rulings, ruling), "outcome": ""})
    if at_once:
        ruled = ruled.model_copy(update={"outcome": AT_ONCE[request.kind](ruled)})
    memory.record(ruled)
    return [in_words(ruled)]


AHEAD = {
    Kind.BUDGET: "it holds from the next generation on",
    Kind.LAYOUT: "the run tries it at its next step",
}
"""What is still to be done of the kinds that are granted before they are carried out."""

AT_ONCE: dict[Kind, Callable[[Request], str]] = {
    Kind.FILE: lambda r: f"{r.given} may be written",
    Kind.PACKAGE: lambda r: f"{r.given} can be imported",
    Kind.DATASET: lambda r: (
        f"{r.given}.bin lies beside train.bin, uint16 tokens of the same vocabulary to train on"
    ),
}
"""Kinds that are carried out without a trial, and what is then true."""


def title(request: Request) -> str:
    """A request by what it is for."""
    names = {
        Kind.DATASET: "a data set",
        Kind.PACKAGE: "the package",
        Kind.FILE: "the new file",
        Kind.LAYOUT: "the layout",
        Kind.BUDGET: "a budget of",
    }
    return f"{names[request.kind]} {request.wanted}"


def expected(request: Request) -> str:
    """What the askers expect of it, where any of them says."""
    effects = [a.expected.log_perplexity for a in request.askings if a.expected.log_perplexity is not None]
    return f"{percent(sum(effects) / len(effects))} perplexity" if effects else ""


def in_words(request: Request) -> str:
    """Where a request stands, in a sentence: for people, and for the agents' tasks."""
    ruling = request.ruling
    because = f", because: {ruling.reason}" if ruling is not None and ruling.reason else ""
    given = f" as {request.given}" if request.given != request.wanted else ""
    words = {
        State.OPEN: f"asked for by {', '.join(request.askers)}; it waits for an answer",
        State.GRANTED: f"granted{given}{because}; {AHEAD.get(request.kind, '')}",
        State.DONE: f"granted{because}: {request.outcome}",
        State.FAILED: f"granted{given}, but it could not be carried out: {request.outcome}",
        State.DENIED: f"denied{because}; ask again only with new evidence",
        State.ANSWERED: f"answered: {ruling.reason if ruling else ''}",
    }
    return f"{title(request)} ({request.id}): {words[request.state]}."


def told(memory: Memory, before: int) -> tuple[str, ...]:
    """What agents are told of requests, as far as it was known before birth ``before``."""
    return tuple(
        in_words(request)
        for request in memory.requests.values()
        if request.askings[0].ordinal < before and (request.ruling is None or request.ruling.settled < before)
    )


def reminder(memory: Memory) -> str:
    """How many requests wait for a person, and the command; nothing where none does."""
    count = len(waiting(memory.requests))
    return f"{counted(count, 'request')} of agents wait{'s' * (count == 1)}: darwin requests" if count else ""
