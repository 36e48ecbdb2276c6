"""Configuration: ``darwin.toml`` in the workspace, overridden by options; a default is written once, here."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from darwin.agents.members import STYLES
from darwin.errors import UsageError
from darwin.sandbox.budget import Budget, BudgetError
from darwin.strategy import CONTROLS, SEARCHES

APPROVALS = ("ask", "auto", "defer", "policy")
SANDBOXES = ("auto", "docker", "process")


@dataclass(frozen=True)
class Config:
    """What an evolution is run with. Those under ``[evolution]`` and ``[data]`` stay as they were begun."""

    seed: int = 1
    agents: str = "rules:6"
    model: str = ""
    style: str = "diff"
    max_cost: float | None = None
    batch: int = 2
    budget: str = "20s"
    search: str = "ga"
    control: str | None = None
    data: str = ""
    workers: int = max(1, min(os.cpu_count() or 1, 8))
    device: str = "cpu"
    sandbox: str = "auto"
    runtime: str = ""
    gpus: str = ""
    base_image: str = "python:3.11-slim"
    approve: str = "ask"
    patience: int | None = None
    seconds: float | None = None
    least_gain: float = 1.0
    least_confidence: float = 0.98
    most_added: int = 80

    @property
    def devices(self) -> tuple[str, ...]:
        """Ids of GPUs for containers."""
        return tuple(part.strip() for part in self.gpus.split(",") if part.strip())


SECTIONS = {
    "evolution": ("seed", "agents", "batch", "budget", "search", "control"),
    "data": ("data",),
    "models": ("model", "style", "max_cost"),
    "run": (
        "workers",
        "device",
        "sandbox",
        "runtime",
        "gpus",
        "base_image",
        "approve",
        "patience",
        "seconds",
    ),
    "gate": ("least_gain", "least_confidence", "most_added"),
}
FIXED = (*SECTIONS["evolution"], *SECTIONS["data"], "device")
"""Settings an evolution keeps: its individuals would not be comparable otherwise."""

COMMENTS = {
    "seed": "everything random follows from it",
    "agents": "kind:count, separated by commas, or agents.toml; each agent owns one script",
    "model": "what agents of kind openai ask, unless agents.toml says it",
    "style": "how they write edits: diff, file, chunks, or settings (for small models)",
    "max_cost": "stop when models have cost so many dollars in all",
    "batch": "births between two updates of the population",
    "budget": "training of every trial: 20s (time of this device), 200ktok (tokens) or 1TFLOP",
    "search": "how parents are chosen and who survives: " + ", ".join(SEARCHES),
    "control": "a control experiment: " + ", ".join(CONTROLS),
    "data": "folder of train.bin, val.bin, test.bin and meta.json, made by darwin prepare",
    "workers": "trials at a time, one thread each",
    "device": "cpu or cuda",
    "sandbox": "what confines agents and trials: auto (docker where an engine answers), docker or process",
    "runtime": "the engine's runtime for containers, such as runsc (gVisor); empty for its default",
    "gpus": "ids of the GPUs that containers may have, one a trial: 0,1",
    "base_image": "what the containers' image is built from",
    "approve": "who decides on a merge: ask, auto, defer, or policy (as [gate] says)",
    "patience": "stop after so many generations without a better script",
    "seconds": "stop after so many seconds",
    "least_gain": "of perplexity in per cent, at the careful end of the interval: what the policy merges at least",
    "least_confidence": "of the verdict, between 0 and 1",
    "most_added": "lines that a change may add; what exceeds a threshold waits for a person",
}

TYPES: dict[str, tuple[type, ...]] = {
    "seed": (int,),
    "batch": (int,),
    "workers": (int,),
    "patience": (int,),
    "seconds": (int, float),
    "max_cost": (int, float),
    "least_gain": (int, float),
    "least_confidence": (int, float),
    "most_added": (int,),
}


def load(path: Path) -> Config:
    """Read a ``darwin.toml``.

    Raises:
        UsageError: not TOML, an unknown key, or a value of the wrong type; the key is named.
    """
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    given = {}
    for section, values in sections.items():
        for key, value in values.items() if isinstance(values, dict) else [("", values)]:
            if key not in SECTIONS.get(section, ()):
                known = ", ".join(f"{s}.{k}" for s, keys in SECTIONS.items() for k in keys)
                raise UsageError(f'{path}: unknown setting "{section}.{key}". Known are {known}.')
            given[key] = value
    return check(override(Config(), given), str(path))


def override(config: Config, given: dict[str, Any]) -> Config:
    """The configuration with the given values; None means not given."""
    return replace(config, **{key: value for key, value in given.items() if value is not None})


def check(config: Config, where: str = "") -> Config:
    """The same configuration, if every value is usable.

    Raises:
        UsageError: naming the value and what is accepted.
    """
    prefix = f"{where}: " if where else ""
    for field in fields(config):
        value = getattr(config, field.name)
        wanted = TYPES.get(field.name, (str,))
        if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise UsageError(f"{prefix}{field.name} = {value!r} is not of the expected type.")
    for name, accepted in (
        ("approve", APPROVALS),
        ("search", tuple(SEARCHES)),
        ("control", (None, *CONTROLS)),
        ("sandbox", SANDBOXES),
        ("style", STYLES),
    ):
        if getattr(config, name) not in accepted:
            words = ", ".join(a for a in accepted if a)
            raise UsageError(f'{prefix}--{name} "{getattr(config, name)}" is unknown. Known are: {words}.')
    if config.max_cost is not None and not config.max_cost > 0:
        raise UsageError(f"{prefix}--max-cost {config.max_cost}: a sum above 0 is needed.")
    for name in ("batch", "workers", "patience"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UsageError(f"{prefix}--{name} {value}: at least 1 is needed.")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", config.device):
        raise UsageError(f'{prefix}--device "{config.device}" is unknown. Known are: cpu, cuda, cuda:0.')
    if not re.fullmatch(r"([\w-]+(,\s*[\w-]+)*)?", config.gpus) or config.gpus == "all":
        raise UsageError(f'{prefix}--gpus "{config.gpus}" cannot be read. Write ids, for example --gpus 0,1.')
    if config.gpus and config.device == "cpu":
        raise UsageError(f"{prefix}--gpus {config.gpus} goes with --device cuda. Give both, or neither.")
    try:
        Budget.parse(config.budget)
    except BudgetError as error:
        raise UsageError(f"{prefix}{error}") from None
    return config


def save(config: Config, path: Path) -> None:
    """Write a ``darwin.toml`` with a comment beside each setting; unset ones are commented out."""
    values = asdict(config)
    lines = ["# The configuration of this evolution. Options of darwin evolve override [run] for one run."]
    for section, keys in SECTIONS.items():
        lines += ["", f"[{section}]"]
        for key in keys:
            value = values[key]
            text = f'# {key} = ""' if value is None else f"{key} = {_toml(value)}"
            lines.append(f"{text}  # {COMMENTS[key]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``90s``, ``30m`` or ``2h``. Raises UsageError when it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not found or not float(found[1]):
        raise UsageError(f'Duration "{text}" cannot be read. Write 90s, 30m or 2h, for example --for 2h.')
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def parse_generations(text: str, done: int) -> int:
    """Total generations of ``5`` (a total) or ``+5`` (added to those done). Raises UsageError."""
    if not re.fullmatch(r"\+?\d{1,6}", text.strip()) or not int(text):
        raise UsageError(f'Generations "{text}" cannot be read. Write 5 (a total) or +5 (that many more).')
    return int(text) + (done if text.strip().startswith("+") else 0)
