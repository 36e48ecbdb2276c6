"""``darwin memory``: whether what is remembered is sound, and mending it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from darwin import check as checking
from darwin.cli import options
from darwin.events import FILE as RUN_LOG
from darwin.events import Events
from darwin.memory import MemoryFault
from darwin.rescue import rescue
from darwin.resume import resume
from darwin.screen import Screen, counted, safe
from darwin.workspace import locate, locked, open_workspace, require_workspace

app = typer.Typer(
    no_args_is_help=True, help="What a workspace remembers: check it, or write it anew from git."
)


@app.command()
def check(workspace: options.Workspace = None, json: options.Json = False) -> None:
    """Compare records, notes, refs and JSON files with git; exit code 1 if anything is wrong. Changes nothing.

    \b
    Examples:
      darwin memory check
      darwin memory check --json
    """
    folder = locate(workspace)
    counts = {}
    try:
        opened = open_workspace(folder)
        found = checking.problems(opened)
        counts = {"individuals": len(opened.memory.individuals), "decisions": len(opened.memory.decisions)}
    except MemoryFault as error:
        found = [checking.why_unreadable(error)]
    if json:
        options.print_json({"sound": not found, **counts, "problems": [asdict(one) for one in found]})
    else:
        screen = Screen()
        for one in found:
            screen.say(f"{one.kind:6} {one.where}: {safe(one.what, 300)}", "red")
        if found:
            screen.say(
                f"{counted(len(found), 'problem')}. Mend what can be: darwin memory rebuild -C {folder}"
            )
        else:
            screen.say(f"Sound: {counted(counts['individuals'], 'individual')}, in git and in memory/.")
    if found:
        raise typer.Exit(1)


@app.command()
def rebuild(workspace: options.Workspace = None) -> None:
    """Write notes, refs and JSON files anew from git's records; what is damaged is set aside, and nothing deleted.

    \b
    Examples:
      darwin memory rebuild
      darwin memory rebuild -C night
    """
    folder = locate(workspace)
    require_workspace(folder)
    screen = Screen()
    with locked(folder):
        said = rescue(folder)
        opened = open_workspace(folder)
        if (line := resume(opened, Events(folder / RUN_LOG))) is not None:
            said.append(line)
        for sentence in said:
            screen.say(sentence)
        left = checking.problems(opened)
    for one in left:
        screen.say(f"{one.kind:6} {one.where}: {safe(one.what, 300)}", "red")
    if left:
        screen.say(f"{counted(len(left), 'problem')} could not be mended.", "red")
        raise typer.Exit(1)
    screen.say("Sound." if said else "Nothing was wrong.")
