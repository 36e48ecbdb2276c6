"""``darwin export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from darwin import export as home
from darwin.cli import options
from darwin.errors import UsageError
from darwin.needs import needs
from darwin.origin import origin_in
from darwin.screen import Screen, safe
from darwin.workspace import locate, open_workspace


def export(
    id: options.ID,
    folder: Annotated[
        Path | None, typer.Argument(help="New folder for the script and its numbers", show_default=False)
    ] = None,
    patch: Annotated[
        bool, typer.Option("--patch", help="Print a patch to the base genome, for git apply, instead")
    ] = False,
    workspace: options.Workspace = None,
) -> None:
    """Take a script home: as a folder that runs, with its numbers, or as a patch to the script you began with.

    \b
    Examples:
      darwin export champion better_gpt
      darwin export main --patch > better.patch
    """
    if patch == (folder is not None):
        raise UsageError("Give a folder, or --patch: darwin export champion better_gpt")
    opened = open_workspace(locate(workspace))
    chosen = opened.memory.resolve(id)
    if folder is None:
        base = opened.memory.resolve("base")
        sys.stdout.buffer.write(home.patch(opened.lineage, base, chosen))
        lacks = needs(opened.memory, chosen, opened.lineage.files(chosen.commit)).names
        if lacks:
            print(
                f"The patch lacks {', '.join(lacks)}, which people granted: darwin export {chosen.id} FOLDER has them.",
                file=sys.stderr,
            )
        origin = origin_in(opened.lineage.files(base.commit))
        if origin is not None:
            where = f"commit {origin.commit[:10]} of " if origin.commit else "the files that init found in "
            print(f"It applies to {where}{safe(origin.folder, 300)}: git apply better.patch", file=sys.stderr)
        return
    home.folder(opened.memory, opened.lineage, chosen, folder)
    Screen().say(f"Wrote {chosen.id} to {folder}/ with its numbers in {home.NUMBERS}.")
