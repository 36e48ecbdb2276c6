"""``darwin calibrate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from darwin import calibration
from darwin.cli import options
from darwin.screen import Screen
from darwin.workspace import is_workspace, locate, open_workspace

EFFECT = math.log(0.98)
"""An edit worth 2 % of perplexity."""


def calibrate(
    workspace: options.Workspace = None,
    pool: Annotated[
        Path, typer.Option(help="JSON Lines of reseeded runs, made by bench/pool.py", show_default=False)
    ] = calibration.POOL,
    decisions: Annotated[int, typer.Option(help="Resampled decisions", min=100)] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the resampling")] = 1,
    json: options.Json = False,
) -> None:
    """Print how often the rule of verdicts approves what is no better, and how often it finds what is.

    Trains nothing: decisions are resampled from a stored pool of real runs. Inside a workspace, power is also given at
    the noise that was measured there.

    \b
    Examples:
      darwin calibrate
      darwin calibrate --decisions 50000 --json
    """
    found = calibration.Pool.read(pool)
    rates = {
        "false_approvals": calibration.false_approvals(found, decisions, seed),
        "false_runs": calibration.false_runs(found, decisions // 5, seed),
        "power": calibration.power(found, EFFECT, decisions, seed),
    }
    words = {
        "false_approvals": "unedited copies approved, each met as a run's first contender",
        "false_runs": f"runs of {calibration.GENERATIONS} generations of copies that approve any",
        "power": f"edits worth 2 % approved, at the default budget ({found.deviation:.4f} nats)",
    }
    folder = locate(workspace)
    noise = None
    if is_workspace(folder):
        memory = open_workspace(folder).memory
        noise = memory.run.noise if memory.begun else None
    if noise is not None:
        scale = noise.deviation / found.deviation
        rates["power_here"] = calibration.power(found, EFFECT, decisions, seed, scale)
        words["power_here"] = (
            f"edits worth 2 % approved, at the noise of {folder} ({noise.deviation:.4f} nats)"
        )
    if json:
        options.print_json({
            "copies": len(found.copies), "pairs": len(found.base), "deviation": found.deviation,
            **{n: {"rate": r.value, "interval": r.interval, "of": r.tries} for n, r in rates.items()},
        })  # fmt: skip
        return
    screen = Screen()
    screen.say(
        f"Pool: {len(found.copies)} small reseeded copies, {len(found.base)} pairs at the default budget."
    )
    for name, rate in rates.items():
        low, high = rate.interval
        screen.say(f"{rate.value:7.2%}  ({low:.2%} to {high:.2%}) of {rate.tries:,} {words[name]}")
