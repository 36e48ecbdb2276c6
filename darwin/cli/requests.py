"""``darwin requests list|show|grant|deny|answer``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from darwin import requests
from darwin.cli import options
from darwin.cli.review import settle
from darwin.errors import UsageError
from darwin.memory import Memory
from darwin.memory.requests import Request, Ruling, State, uses, waiting
from darwin.screen import Screen, counted, safe
from darwin.tables import outcome
from darwin.workspace import Workspace, locate, open_workspace

app = typer.Typer(rich_markup_mode=None)

ID = Annotated[str, typer.Argument(help="A request's id, or a unique beginning of one")]
Reason = Annotated[str, typer.Option(help="Why; kept with the request, and told to the agents")]
LONGEST = 500


@app.callback(invoke_without_command=True)
def requests_(
    context: typer.Context, workspace: options.Workspace = None, json: options.Json = False
) -> None:
    """What agents ask for: grant it, deny it, or answer. Without a command: list what waits for an answer.

    \b
    Examples:
      darwin requests
      darwin requests grant budget-40s
    """
    if context.invoked_subcommand is None:
        list_(workspace, every=False, json=json)
        return
    source = context.get_parameter_source("workspace")
    if source is not None and source.name == "COMMANDLINE":
        command = context.invoked_subcommand
        raise UsageError(
            f"Write the workspace after the command: darwin requests {command} ... -C {workspace}"
        )


@app.command("list")
def list_(
    workspace: options.Workspace = None,
    every: Annotated[bool, typer.Option("--all", help="Those that were answered, too")] = False,
    json: options.Json = False,
) -> None:
    """List the requests that wait for an answer, the most wanted first.

    \b
    Examples:
      darwin requests list
      darwin requests list --all --json
    """
    memory = open_workspace(locate(workspace)).memory
    open_ = waiting(memory.requests)
    found = [*open_, *(r for r in memory.requests.values() if every and r not in open_)]
    if json:
        options.print_json([_json(memory, request) for request in found])
        return
    screen = Screen()
    for request in found:
        first = request.askings[0]
        asked = f"asked by {counted(len(request.askers), 'agent')} ({', '.join(request.askers)})"
        effect = requests.expected(request)
        screen.say(f"{request.id:24} {safe(requests.title(request))}, {asked}: {request.state}", "bold")
        screen.say(f"    {safe(first.reason, 300)}" + (f"; expected {effect}" if effect else ""))
    if not found:
        screen.say("No request waits for an answer.")
    elif open_:
        screen.say(f"Answer with: darwin requests grant {open_[0].id} (or deny, or answer)")


@app.command()
def show(id: ID, workspace: options.Workspace = None, json: options.Json = False) -> None:
    """Show one request: who asks, why, what was answered, what came of it.

    \b
    Examples:
      darwin requests show package-einops
      darwin requests show budget-40s --json
    """
    memory = open_workspace(locate(workspace)).memory
    request = resolve(memory, id)
    if json:
        options.print_json(_json(memory, request))
        return
    screen = Screen()
    screen.say(safe(requests.in_words(request), 1000), "bold")
    for asking in request.askings:
        screen.say(f"{asking.agent}, writing {asking.child}: {safe(asking.reason, 300)}")
    if effect := requests.expected(request):
        screen.say(f"Expected: {effect}")
    if request.evidence:
        screen.say(f"Evidence: {', '.join(request.evidence)}")
    for ruling in request.rulings:
        words = f"{ruling.state} by {ruling.by.partition(' <')[0]}" + (
            f": {safe(ruling.reason, LONGEST)}" * bool(ruling.reason)
        )
        screen.say(words)
    for child in uses(memory.individuals.values(), request.id):
        screen.say(f"Used by {child.id}: {safe(child.subject)}; {outcome(child, memory)}")


@app.command()
def grant(
    id: ID,
    workspace: options.Workspace = None,
    use: Annotated[
        str, typer.Option(help="Grant this in place of what is asked for: a requirement, a name, an amount")
    ] = "",
    reason: Reason = "",
) -> None:
    """Grant a request: it is carried out, and the agents are told.

    \b
    Examples:
      darwin requests grant file-optim.py
      darwin requests grant budget-40s --use 30s --reason "the night is short"
    """
    opened = open_workspace(locate(workspace))
    request = answerable(opened.memory, id)
    _rule(opened, requests.grant(opened, request, use, safe(reason, LONGEST), Screen().say))


@app.command()
def deny(id: ID, workspace: options.Workspace = None, reason: Reason = "") -> None:
    """Deny a request: the agents are told why, and do not ask again unless there is new evidence.

    \b
    Examples:
      darwin requests deny package-einops --reason "torch can do that"
      darwin requests deny budget-40s
    """
    opened = open_workspace(locate(workspace))
    request = answerable(opened.memory, id)
    _rule(opened, requests.ruling_on(opened, request, State.DENIED, safe(reason, LONGEST)))


@app.command()
def answer(
    id: ID,
    text: Annotated[str, typer.Argument(help="What to tell those who asked")],
    workspace: options.Workspace = None,
) -> None:
    """Answer a request with words alone: neither granted nor denied, it is told to the agents and waits no longer.

    \b
    Examples:
      darwin requests answer dataset-poems "train.bin holds the sonnets already"
      darwin requests answer package-einops "use torch.einsum"
    """
    opened = open_workspace(locate(workspace))
    request = answerable(opened.memory, id)
    if not safe(text, LONGEST):
        raise UsageError("The answer is empty.")
    _rule(opened, requests.ruling_on(opened, request, State.ANSWERED, safe(text, LONGEST)))


def resolve(memory: Memory, name: str) -> Request:
    """The request of that id, or of the only id that begins so. Raises UsageError."""
    matches = [r for r in memory.requests if r == name] or [r for r in memory.requests if r.startswith(name)]
    if len(matches) != 1:
        known = ", ".join(matches or memory.requests) or "none"
        raise UsageError(f'"{safe(name)}" is not the beginning of one request\'s id. There are: {known}.')
    return memory.requests[matches[0]]


def answerable(memory: Memory, name: str) -> Request:
    """The request of that id, unless it was granted already. Raises UsageError."""
    request = resolve(memory, name)
    if request.state in (State.GRANTED, State.DONE):
        raise UsageError(f"{request.id} was granted already. darwin requests show {request.id}")
    return request


def _rule(opened: Workspace, ruling: Ruling) -> None:
    requests.post(opened.folder, ruling)
    settle(opened.folder, Screen())


def _json(memory: Memory, request: Request) -> dict[str, Any]:
    found = request.model_dump(mode="json", by_alias=True)
    used = [child.id for child in uses(memory.individuals.values(), request.id)]
    return {**found, "askers": list(request.askers), "used_by": used}
