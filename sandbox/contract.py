"""The genome's contract: what ``genome.toml`` promises about a genome, and nothing else is assumed of it."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import PurePosixPath

from darwin.sandbox.errors import ContractError

GENOME_TOML = "genome.toml"

DATA, OUT = "../data", "../out"
"""``{data}`` and ``{out}`` seen from the genome's folder, where the train command runs, in every provider."""

_KEYS = {"genome": ("files", "train"), "model": ("load", "context"), "data": ("kind",)}
_OPTIONAL = {"genome": ("fixed",)}
_PLACEHOLDERS = ("data", "out", "seed", "tokens", "iters", "device")
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_LOAD = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Contract:
    """A parsed ``genome.toml``.

    ``files``: what may be rewritten, relative paths; ``script`` and ``options``: the train command after
    ``python``, with its placeholders; ``load``: ``module:callable``, (checkpoint path, device) -> callable
    from int64 tokens (B, T) to float logits (B, T, V); ``context``: length of a judged window, in tokens; ``fixed``:
    further settings that a trial gives a value of its own.
    """

    files: tuple[str, ...]
    script: str
    options: tuple[str, ...]
    load: str
    context: int
    kind: str
    fixed: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Contract:
        """Read the text of a genome.toml; raises ``ContractError`` with one sentence that names the key."""
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ContractError(f"{GENOME_TOML} is not TOML: {error}.") from None
        _check_keys(tables)
        script, options = _train(_string(tables, "genome", "train"))
        load = _string(tables, "model", "load")
        if not _LOAD.fullmatch(load):
            raise _error("model.load", f'"{load}" is not "module:callable", for example "model:load"')
        kind = _string(tables, "data", "kind")
        if kind != "tokens":
            raise _error("data.kind", f'"{kind}" is not known; the only kind is "tokens"')
        files = _files(tables["genome"]["files"])
        context, fixed = _context(tables["model"]["context"]), _names(tables["genome"].get("fixed", []))
        return cls(files, script, options, load, context, kind, fixed)

    @property
    def settings_set_by_trial(self) -> frozenset[str]:
        """Names of the options a trial sets (``data_dir``, ``seed``, ...): no rewrite of their defaults counts."""
        return frozenset(name for name, _ in _set_options(self.options)).union(self.fixed)

    def arguments(self, *, seed: int, tokens: int, device: str) -> list[str]:
        """The train command after ``python``: the script, then its options with every placeholder filled in."""
        values = {"data": DATA, "out": OUT, "seed": str(seed), "tokens": str(tokens), "device": device}
        filled = [_PLACEHOLDER.sub(lambda match: values[match[1]], option) for option in self.options]
        return [self.script, *filled]


def _error(key: str, problem: str) -> ContractError:
    return ContractError(f"{GENOME_TOML}, {key}: {problem}.")


def _check_keys(tables: dict[str, object]) -> None:
    for table, content in tables.items():
        if table not in _KEYS:
            raise _error(table, f"an unknown table; the tables are {', '.join(_KEYS)}")
        if not isinstance(content, dict):
            raise _error(table, f"expected a table [{table}]")
        for key in content:
            known = (*_KEYS[table], *_OPTIONAL.get(table, ()))
            if key not in known:
                raise _error(f"{table}.{key}", f"an unknown key; [{table}] has {', '.join(known)}")
    for table, keys in _KEYS.items():
        content = tables.get(table, {})
        for key in keys:
            if not isinstance(content, dict) or key not in content:
                raise _error(f"{table}.{key}", "missing")


def _string(tables: dict[str, dict[str, object]], table: str, key: str) -> str:
    value = tables[table][key]
    if not isinstance(value, str) or not value.strip():
        raise _error(f"{table}.{key}", f"expected a text, got {value!r}")
    return value


def _context(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65536:
        raise _error("model.context", f"expected a whole number of tokens from 1 to 65536, got {value!r}")
    return value


def _files(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _error("genome.files", 'expected a list of file names, for example ["model.py", "train.py"]')
    for name in value:
        if not isinstance(name, str):
            raise _error("genome.files", f"expected file names, got {name!r}")
        _check_path("genome.files", name)
    if len(set(value)) != len(value):
        raise _error("genome.files", "names a file twice")
    return tuple(value)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _error("genome.fixed", f"expected a list of names of settings, got {value!r}")
    return tuple(value)


def check_name(name: str) -> str | None:
    """What is wrong with a genome's file name, or None: it must be relative, plain and below the genome."""
    path = PurePosixPath(name)
    if (
        not name
        or path.is_absolute()
        or ".." in path.parts
        or str(path) != name
        or "\\" in name
        or "\0" in name
    ):
        return f'"{name}" is not a plain relative path below the genome'
    return None


def _check_path(key: str, name: str) -> None:
    problem = check_name(name)
    if problem:
        raise _error(key, problem)


def _train(command: str) -> tuple[str, tuple[str, ...]]:
    key = "genome.train"
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _error(key, f"cannot be split into words ({error})") from None
    if len(words) < 2 or words[0] not in ("python", "python3") or not words[1].endswith(".py"):
        raise _error(key, f'"{command}" is not of the form "python FILE.py --option={{placeholder}} ..."')
    _check_path(key, words[1])
    options = tuple(words[2:])
    found = [name for option in options for name in _PLACEHOLDER.findall(option)]
    for name in found:
        if name not in _PLACEHOLDERS:
            known = ", ".join(f"{{{known}}}" for known in _PLACEHOLDERS)
            raise _error(key, f"{{{name}}} is an unknown placeholder; the placeholders are {known}")
    if "iters" in found:
        raise _error(
            key,
            "{iters} cannot be used, since budgets are in tokens; darwin init --from drafts what turns them into steps",
        )
    for name in ("data", "out", "seed", "tokens"):
        if name not in found:
            raise _error(key, f"the placeholder {{{name}}} is missing")
    return words[1], options


def _set_options(options: tuple[str, ...]) -> list[tuple[str, str]]:
    """(option name, its text) of every option with a placeholder, written ``--name={x}`` or ``--name {x}``."""
    result = []
    for before, option in zip(("", *options), options, strict=False):
        if not _PLACEHOLDER.search(option):
            continue
        name = option.split("=", 1)[0] if "=" in option else before
        if name.startswith("-"):
            result.append((name.lstrip("-").replace("-", "_"), option))
    return result
