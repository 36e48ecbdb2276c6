"""``darwin audit``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from darwin.audit import PROBES, Line
from darwin.audit import audit as run_audit
from darwin.begin import ANCESTOR
from darwin.cli import options
from darwin.memory.records import TrialStatus
from darwin.prepare import prepare
from darwin.sandbox import Dataset, ProcessSandbox
from darwin.screen import Screen, safe

_WORDS = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("not reached", "dim")}


def audit(
    path: Annotated[Path, typer.Argument(help="Folder of a genome: genome.toml and its files")],
    text: options.Text = None,
    data: options.Data = None,
    budget: Annotated[str, typer.Option(help="Training before the checks: 20s, 40ktok or 1TFLOP")] = "40ktok",
    json: options.Json = False,
) -> None:
    """Train a genome briefly and check that its model neither leaks nor cheats; explain each line.

    Runs its code in the process sandbox: for code you are willing to run as yourself. Exit code 1 if a check fails.

    \b
    Examples:
      darwin audit nanogpt_base
      darwin audit ~/my_gpt --text my_corpus.txt
    """
    dataset = Dataset.load(prepare(text, data))
    screen, sandbox = Screen(), ProcessSandbox()
    try:
        trial, lines = run_audit(path, ANCESTOR, dataset, sandbox, budget)
    finally:
        sandbox.close()
    if json:
        checks = [{"check": line.name, "passed": line.passed, "meaning": line.meaning} for line in lines]
        options.print_json({"status": trial.status, "checks": checks, "trial": trial.model_dump(mode="json")})
    else:
        say_lines(screen, lines)
        ok = trial.status is TrialStatus.OK
        found = f"perplexity {trial.perplexity:.3f} after {trial.tokens:,} tokens" if trial.perplexity else ""
        screen.say(
            f"{path}: {'passes; ' + found if ok else trial.status.replace('_', ' ')} ({PROBES} batches probed).",
            "bold",
        )
    if trial.status is not TrialStatus.OK:
        raise typer.Exit(1)


def say_lines(screen: Screen, lines: Iterable[Line]) -> None:
    """The lines of a verdict on a genome."""
    for line in lines:
        word, style = _WORDS[line.passed]
        screen.say(f"{word:12} {line.name:12} {safe(line.meaning, 300)}", style)
