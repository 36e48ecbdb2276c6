"""The settings style: each numeric setting with the few values that it may take, as a schema that small models keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from darwin.agents import settings
from darwin.agents.agent import Number
from darwin.memory.requests import Kind

FACTORS = (0.25, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0, 4.0)
MOST = 24  # settings offered
REQUEST = {
    "type": "object", "additionalProperties": False, "required": ["kind", "wanted", "reason"],
    "properties": {
        "kind": {"enum": [str(kind) for kind in Kind]},
        "wanted": {"type": "string", "maxLength": 60}, "reason": {"type": "string", "maxLength": 120},
    },
}  # fmt: skip
"""What may be asked of people beside a change."""


@dataclass(frozen=True)
class Choice:
    """One setting: where it stands, its value now, the values it may take."""

    file: str
    value: Number
    values: tuple[Number, ...]

    def taken(self, value: Number) -> Number | None:
        """The offered value that is meant, None for another."""
        return next((one for one in self.values if abs(one - value) <= 1e-9 * max(1.0, abs(one))), None)

    def written(self) -> str:
        """The values, for people and models."""
        return ", ".join(f"{value:g}" for value in self.values)


Options = dict[str, Choice]


def options(files: Mapping[str, str], fixed: Iterable[str]) -> Options:
    """Every numeric setting that may be changed; one that two files share, or that is 0, is left alone."""
    found: Options = {}
    shared: set[str] = set()
    for file in sorted(files):
        if not file.endswith(".py"):
            continue
        for name, value in settings.numeric(files[file]).items():
            shared |= {name} & found.keys()
            values = _values(value)
            if values:
                found[name] = Choice(file, value, values)
    left_out = shared | set(fixed)
    return dict([(name, choice) for name, choice in found.items() if name not in left_out][:MOST])


def schema(offered: Options) -> dict[str, Any]:
    """The response_format: one or two changes, each a setting with one of its values, and a request or null.

    Every key is required and the request null where there is none, as the strict form of OpenAI wants it.
    """
    kinds = [
        {
            "type": "object", "additionalProperties": False, "required": ["setting", "value"],
            "properties": {"setting": {"const": name}, "value": {"enum": list(choice.values)}},
        }
        for name, choice in offered.items()
    ]  # fmt: skip
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "settings", "strict": True,
            "schema": {
                "type": "object", "additionalProperties": False,
                "required": ["changes", "hypothesis", "expected_log_perplexity", "request"],
                "properties": {
                    "changes": {"type": "array", "items": {"anyOf": kinds}, "minItems": 1, "maxItems": 2},
                    "hypothesis": {"type": "string", "maxLength": 300},
                    "expected_log_perplexity": {"enum": [-0.1, -0.05, -0.02, -0.01, 0.0]},
                    "request": {"anyOf": [{"type": "null"}, REQUEST]},
                },
            },
        },
    }  # fmt: skip


def _values(value: Number) -> tuple[Number, ...]:
    """Steps around a value; those of a share below 1, such as a beta, keep it below 1."""
    if value == 0:
        return ()
    steps: list[Number] = []
    for factor in FACTORS:
        if isinstance(value, int):
            step: Number = round(value * factor)
        elif 0.5 <= value < 1:
            step = float(f"{1 - (1 - value) / factor:.4g}")
        else:
            step = float(f"{value * factor:.3g}")
        if step != value and (step > 0) == (value > 0):
            steps.append(step)
    return tuple(dict.fromkeys(steps))
