"""Options that several commands share."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from darwin.errors import DarwinError
from darwin.memory import MemoryFault
from darwin.memory.memory import ALIASES
from darwin.workspace import locate, open_workspace

Workspace = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-C",
        envvar="DARWIN_WORKSPACE",
        show_default=False,
        help="Folder of the evolution, else one found upwards from here, else ./evolution",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts")]
Genome = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the training script to evolve, with its genome.toml  [default: nanogpt_base]",
        show_default=False,
    ),
]
Text = Annotated[
    Path | None,
    typer.Option(help="UTF-8 file or folder to train on, one token a character", show_default=False),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder of nanoGPT-style train.bin and val.bin (uint16)", show_default=False),
]
AgentsFile = Annotated[
    Path | None,
    typer.Option("--agents", help="An agents.toml outside of any workspace", show_default=False),
]


def ids(incomplete: str) -> list[str]:
    """The ids that begin so, for a shell's completion; none where there is no workspace."""
    try:
        memory = open_workspace(locate(None)).memory
    except (DarwinError, MemoryFault):
        return []
    return [name for name in (*ALIASES, *memory.individuals) if name.startswith(incomplete)]


ID = Annotated[
    str, typer.Argument(help="An id, a unique beginning of one, base, main or champion", autocompletion=ids)
]


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(_finite(value), indent=2))


def _finite(value: Any) -> Any:
    """The same value with null for infinities and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def interactive() -> bool:
    """Whether there is a person at both ends of the terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
