"""``darwin image build`` and ``darwin image prune``."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from darwin.config import Config
from darwin.confinement import recipe
from darwin.sandbox import engine
from darwin.sandbox import image as images
from darwin.screen import Screen

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def build(
    base: Annotated[
        str, typer.Option(help="What it is built from: BASE_IMAGE of Dockerfile.agent")
    ] = Config.base_image,
    torch_index: Annotated[
        str | None,
        typer.Option(
            help="Where pip finds torch's builds: a CUDA index, or nothing for PyPI's own  [default: the CPU builds]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build the image that agents and trials run from, unless it is there; evolve does this by itself.

    \\b
    Examples:
      darwin image build
      darwin image build --base registry.example.org/python:3.11-slim
    """
    screen, wanted = Screen(), recipe(base, torch_index)
    with closing(engine.connect()) as client:
        there = images.exists(client, wanted.tag)
        images.build(client, wanted, screen.say)
        size = images.size(client, wanted.tag) / 1e9
        screen.say(f"{wanted.tag} {'is there already' if there else 'is built'}: {size:.2f} GB.")


@app.command()
def prune(
    every: Annotated[bool, typer.Option("--all", help="Remove the present image too")] = False,
) -> None:
    """Remove images of earlier versions; one in use stays.

    \\b
    Examples:
      darwin image prune
      darwin image prune --all
    """
    screen = Screen()
    with closing(engine.connect()) as client:
        removed = images.prune(client, None if every else recipe().tag)
    for tag, size in removed:
        screen.say(f"Removed {tag}, {size / 1e9:.2f} GB with what it shared.")
    if not removed:
        screen.say("There is no image to remove.")
