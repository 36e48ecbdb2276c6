"""Rulings at the gate: a person at the desk reads what agents ask for, and grants, denies or answers it there."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from darwin import requests
from darwin.desk import LEAVE, Desk
from darwin.errors import UsageError
from darwin.keys import ENTER
from darwin.memory.requests import Kind, Request, Ruling, State, waiting
from darwin.sandbox import SandboxError
from darwin.screen import counted, safe
from darwin.workspace import Workspace, open_workspace

LISTED = 9
"""Requests on the list: a digit picks one."""
LIST = "[1-{last}] answer one  [Enter, q] back to the change"
ONE = ("[g] grant it  [n] deny it; you are asked why", "[w] answer in words  [Enter, q] back; it waits on")
BACK = ("q", ENTER, *LEAVE)
NOTHING = "Nothing was said."


def rule(desk: Desk, folder: Path) -> tuple[str, int]:
    """Let the person answer requests, one after the other, as ``darwin requests`` does.

    What they say waits for the holder of the workspace. Returns what to tell them when they are back at the gate, and
    how many requests still wait.
    """
    note = ""
    while True:
        opened = open_workspace(folder)
        answered = requests.ruled(folder)
        left = [r for r in waiting(opened.memory.requests) if r.id not in answered]
        if not left:
            return note or "No request of an agent waits.", 0
        shown = left[:LISTED]
        key = desk.asks(_list(shown, len(left), desk.width), note, [LIST.format(last=len(shown))])
        if key in BACK:
            return "", len(left)
        note = "That key does nothing here."
        if key.isdecimal() and 1 <= int(key) <= len(shown):
            note = _one(desk, opened, shown[int(key) - 1])


def _list(shown: list[Request], count: int, width: int) -> list[Text]:
    """Two lines a request: what is wanted, then who asks, and why."""
    lines = [Text(f"{counted(count, 'request')} of agents, the most wanted first", style="bold"), Text("")]
    for number, request in enumerate(shown, 1):
        effect = requests.expected(request)
        title = requests.title(request) + (f"; expected: {effect}" if effect else "")
        lines.append(Text(f"{number}  {safe(title, width - 4)}"))
        asked = f"asked by {', '.join(request.askers)}: {request.askings[0].reason}"
        lines.append(Text(f"   {safe(asked, width - 4)}", style="dim"))
    if count > len(shown):
        lines.append(Text(f"   and {count - len(shown)} more: darwin requests list", style="dim"))
    return lines


def _one(desk: Desk, opened: Workspace, request: Request) -> str:
    """Show a request and take what the person says to it; a sentence on what came of that, empty for nothing."""
    note = ""
    while True:
        said = desk.wrapped(Text(note, style="bold yellow")) if note else []
        key = desk.asks([*said, *_whole(desk, request)], "", ONE)
        if key in BACK:
            return ""
        try:
            ruling = _ruling(desk, opened, request, key)
        except (UsageError, SandboxError, OSError) as error:
            note = str(error)
            continue
        if isinstance(ruling, Ruling):
            requests.post(opened.folder, ruling)
            return f"Noted: {request.id} is {ruling.state}."
        note = ruling


def _whole(desk: Desk, request: Request) -> list[Text]:
    """All that is known of a request, wrapped."""
    parts = [Text(safe(requests.in_words(request), 400), style="bold"), Text("")]
    parts += [Text(f"{a.agent}, writing {a.child}: {safe(a.reason, 300)}") for a in request.askings]
    if effect := requests.expected(request):
        parts.append(Text(f"Expected: {effect}"))
    if request.evidence:
        parts.append(Text(f"Evidence: {', '.join(request.evidence)}"))
    for said in request.rulings:
        parts.append(Text(f"Before: {said.state} by {said.by.partition(' <')[0]}: {safe(said.reason, 300)}"))
    return [line for part in parts for line in desk.wrapped(part)]


def _ruling(desk: Desk, opened: Workspace, request: Request, key: str) -> Ruling | str:
    """The ruling that a key leads to, or what to say instead. Raises UsageError for what cannot be granted."""
    if key == "g":
        return _grant(desk, opened, request)
    if key == "n":
        reason = desk.line("Why not? The agents are told (Esc: back): ")
        return NOTHING if reason is None else requests.ruling_on(opened, request, State.DENIED, reason)
    if key == "w":
        text = desk.line("What do you tell them? (Esc: back): ")
        return requests.ruling_on(opened, request, State.ANSWERED, text) if text else NOTHING
    return "That key does nothing here."


def _grant(desk: Desk, opened: Workspace, request: Request) -> Ruling | str:
    if request.kind is Kind.DATASET:
        use = desk.line("Which text, a file or a folder? (Esc: back): ")
    else:
        use = desk.line(f"Enter grants {safe(request.wanted, 60)}; or write what else (Esc: back): ")
    if use is None or (request.kind is Kind.DATASET and not use):
        return NOTHING
    reason = desk.line("Why? The agents are told (Enter: no reason, Esc: back): ")
    if reason is None:
        return NOTHING
    named = str(Path(use).expanduser()) if request.kind is Kind.DATASET else use
    return requests.grant(opened, request, named, reason, desk.say)
