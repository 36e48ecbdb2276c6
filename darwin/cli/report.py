"""``darwin report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darwin.cli import options
from darwin.errors import UsageError
from darwin.memory.store import write_atomically
from darwin.screen import Screen
from darwin.workspace import locate, open_workspace


def report(
    workspace: options.Workspace = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write  [default: report.html in the workspace's artifacts]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write one HTML file with the family tree, the curves, the champion's diff and every number; no network needed.

    \b
    Examples:
      darwin report
      darwin report -o night.html
    """
    from darwin.report import write  # matplotlib takes a second to import, and no other command needs it

    opened = open_workspace(locate(workspace))
    if not opened.memory.begun:
        raise UsageError("There is nothing to report yet. First: darwin evolve")
    path = output or opened.artifacts / "report.html"
    page = write(opened.memory, opened.lineage, opened.artifacts)
    write_atomically(path, page.encode())
    Screen().say(f"Wrote {path} ({len(page) / 1e6:.1f} MB). Open it in a browser.")
