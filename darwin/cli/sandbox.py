"""``darwin sandbox sweep``."""

from __future__ import annotations

from contextlib import closing

import typer

from darwin.sandbox import engine, process
from darwin.screen import Screen

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def sandbox() -> None:
    """What confines agents and trials."""


@app.command()
def sweep() -> None:
    """Remove containers and folders of runs that were killed; those of living runs are never touched.

    \\b
    Examples:
      darwin sandbox sweep
      DOCKER_HOST=unix:///run/user/1000/docker.sock darwin sandbox sweep
    """
    process.sweep()
    with closing(engine.connect()) as client:
        removed = engine.sweep(client)
        living = [one for one in engine.containers(client) if not one.orphan]
    screen = Screen()
    for one in removed:
        screen.say(f"Removed {one.name}, of process {one.owner}, which is gone.")
    if not removed:
        screen.say("Nothing was left behind.")
    if living:
        screen.say(f"{len(living)} of living runs stay: {', '.join(one.name for one in living)}.")
