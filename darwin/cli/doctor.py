"""``darwin doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from darwin.cli import options
from darwin.config import Config, check, load, override
from darwin.doctor import findings
from darwin.sandbox.examine import ERROR, WARNING
from darwin.screen import Screen
from darwin.workspace import CONFIG, is_workspace, locate

STYLES = {WARNING: "yellow", ERROR: "bold red"}


def doctor(
    workspace: options.Workspace = None,
    sandbox: Annotated[
        str | None, typer.Option(help="Examine for this sandbox: auto, docker or process", show_default=False)
    ] = None,
    json: options.Json = False,
) -> int:
    """Say whether a run could work here, and what to do about what could not; the network is tried, not assumed.

    \\b
    Examples:
      darwin doctor
      darwin doctor --sandbox docker --json
    """
    folder = locate(workspace)
    begun = load(folder / CONFIG) if is_workspace(folder) else Config()
    found = list(findings(check(override(begun, {"sandbox": sandbox})), folder))
    failed = any(one.level == ERROR for one in found)
    if json:
        options.print_json({"works": not failed, "findings": [asdict(one) for one in found]})
        return int(failed)
    screen = Screen()
    for one in found:
        screen.say(
            f"{one.level:<8} {one.what:<10} {one.text}" + (f"  -> {one.remedy}" if one.remedy else ""),
            STYLES.get(one.level, ""),
        )
    return int(failed)
