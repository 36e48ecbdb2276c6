"""Starts a training script as a trial of darwin asks for it, and gives its model to be judged.

``darwin init --from`` drafted this file beside the script, which stays as it is: while it runs, some of its settings
have the trial's values. What is judged is the model as it stands when the script ends, whatever checkpoints it writes.
What stands in capitals below was found in the script: edit it where it is wrong.
"""

from __future__ import annotations

import ast
import importlib.machinery
import io
import json
import math
import operator
import pickle
import random
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

# found: begin
# the script, and what it is started with in every trial
SCRIPT = "train.py"
OPTIONS: list[str] = []
# settings that hold the length of the training, and those whose product is the tokens of one step of it
LENGTH: list[str] = []
PER_STEP: list[str] = []
# settings that a trial gives a value of its own: for all trials, the seed, the device
ALWAYS: dict[str, Any] = {}
SEED: list[str] = []
DEVICE: list[str] = []
# paths at which the script looks for its tokens: which of them it trains on; and for nanoGPT's meta.pkl
TOKENS: dict[str, str] = {}
META: list[str] = []
# where the script came from
ORIGIN: dict[str, str] = {}
# found: end

HERE = Path(__file__).resolve().parent
PLAIN = (int, float, str, bool, type(None))
VALIDATION = 0.05
"""Share of the training tokens that a script gets to look at for validation: the real ones are kept from it."""
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv, ast.Pow: operator.pow, ast.LShift: operator.lshift,
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A place in a file that gives a name its value."""

    name: str
    value: ast.expr


def settings_in(source: str, path: str = "") -> list[Setting]:
    """The settings of a Python file: assignments at its top or in a class's, and defaults of command line options."""
    found = []
    for node in ast.walk(ast.parse(source, path or "<script>")):
        if isinstance(node, ast.Module | ast.ClassDef):
            found += [one for statement in node.body for one in _assigned(statement)]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            names = [word.lstrip("-").replace("-", "_") for word in words if word.startswith("--")]
            found += [Setting(names[0], k.value) for k in node.keywords if names and k.arg == "default"]
    return found


def _assigned(statement: ast.stmt) -> Iterator[Setting]:
    match statement:
        case ast.Assign(
            targets=[ast.Name(id=name)], value=ast.Call(func=ast.Attribute(attr="device"), args=[value])
        ):  # torch.device("cuda")
            yield Setting(name, value)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield Setting(name, value)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield Setting(name, value)
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(
            values
        ):
            yield from (
                Setting(n.id, v) for n, v in zip(names, values, strict=True) if isinstance(n, ast.Name)
            )


def constant(node: ast.expr) -> Any:
    """The value of a literal, or of arithmetic on literals. Raises ValueError for anything else."""
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](constant(node.left), constant(node.right))
    return ast.literal_eval(node)


def with_values(source: str, values: dict[str, Any], path: str = "") -> str:
    """The source with other values for some of its settings; no line of it moves."""
    lines = source.encode().split(b"\n")
    places = [(s.value, values[s.name]) for s in settings_in(source, path) if s.name in values]
    for node, value in sorted(places, key=lambda place: (place[0].lineno, place[0].col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        text = f"({value!r}" + "\n" * (last - first) + ")"
        changed = lines[first][: node.col_offset] + text.encode() + lines[last][node.end_col_offset :]
        lines[first : last + 1] = changed.split(b"\n")
    return b"\n".join(lines).decode()


def in_force(sources: dict[str, str], script: str, options: list[str]) -> dict[str, Any]:
    """Every setting of which the value is known: that of an option, else of a file named in the options, else of the
    script, else of another file."""
    order = [path for path in sources if path not in (script, *options)]
    known: dict[str, Any] = {}
    for path in (*order, script, *(option for option in options if option in sources)):
        for one in settings_in(sources[path], path):
            try:
                known[one.name] = constant(one.value)
            except (ValueError, TypeError, ArithmeticError):
                known.pop(one.name, None)
    for name, text in _given(options).items():
        try:
            known[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            known[name] = text
    return known


def _given(options: list[str]) -> dict[str, str]:
    """The values of ``--name=value`` and ``--name value``."""
    found = {}
    for word, after in pairwise([*options, "--"]):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found[name.replace("-", "_")] = value if equals else "True" if after.startswith("--") else after
    return found


def options_with(options: list[str], values: dict[str, Any], configs: dict[str, str]) -> list[str]:
    """The options with other values where they give one of these; at the end what a file among them would set back."""
    words = list(options)
    for number, word in enumerate(options):
        name, equals, _ = word.partition("=")
        key = name.lstrip("-").replace("-", "_")
        if not word.startswith("--") or key not in values:
            continue
        if equals:
            words[number] = f"{name}={values[key]}"
        elif options[number + 1 : number + 2] and not options[number + 1].startswith("--"):
            words[number + 1] = str(values[key])
    set_back = {one.name for word in options if word in configs for one in settings_in(configs[word], word)}
    return words + [f"--{name}={values[name]}" for name in values if name in set_back]


class Changed(importlib.machinery.SourceFileLoader):
    """Imports a file of the genome with the trial's values in its settings."""

    values: ClassVar[dict[str, Any]] = {}

    def get_data(self, path: str) -> bytes:
        """The file's bytes, its settings changed."""
        data = super().get_data(path)
        if not self.values or not path.endswith(".py") or not Path(path).is_relative_to(HERE):
            return data
        return with_values(data.decode(), self.values, path).encode()

    def path_stats(self, path: str) -> Any:
        """No compiled file of other values is taken for this one."""
        raise OSError("not cached")


def import_with(values: dict[str, Any]) -> None:
    """From here on, import what lies beside the script with these values."""
    Changed.values = values
    finder = importlib.machinery.FileFinder.path_hook((Changed, [".py"]))
    sys.path_hooks.insert(
        0, lambda place: finder(place) if Path(place).is_relative_to(HERE) else _not_ours(place)
    )
    sys.path_importer_cache.clear()
    sys.path[:0] = [str((HERE / SCRIPT).parent), str(HERE)]


def _not_ours(place: str) -> Any:
    raise ImportError(place)


def main() -> None:
    """One training run: ``--data --out --seed --tokens --device``."""
    import numpy as np
    import torch

    given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    seed, device = int(given["seed"]), given["device"]
    sources = {
        path.relative_to(HERE).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(HERE.rglob("*.py"))
        if path != Path(__file__).resolve()
    }
    known = in_force(sources, SCRIPT, OPTIONS)
    for name in PER_STEP:
        if not isinstance(known.get(name), int | float):
            sys.exit(f"The tokens of a step cannot be told: {name} is no plain number any more.")
    length = max(1, int(int(given["tokens"]) // math.prod(known[name] for name in PER_STEP)))
    values = {
        **ALWAYS,
        **dict.fromkeys(SEED, seed),
        **dict.fromkeys(DEVICE, device),
        **dict.fromkeys(LENGTH, length),
    }
    vocabulary = lay_out(Path(given["data"]))
    if device == "cpu":
        import torch._dynamo

        torch._dynamo.config.disable = True  # a trial's container has no compiler
    for module, name in ((torch, "manual_seed"), (random, "seed"), (np.random, "seed")):
        setattr(module, name, _shifted(getattr(module, name), seed))
    import_with(values)
    model, names = run(with_values(sources[SCRIPT], values, SCRIPT), options_with(OPTIONS, values, sources))
    whole = io.BytesIO()
    torch.save(model, whole)
    out = Path(given["out"])
    out.mkdir(parents=True, exist_ok=True)
    saved = {"model": whole.getvalue(), "names": names, "values": values, "vocabulary": vocabulary}
    torch.save(saved, out / "ckpt.pt")


def lay_out(data: Path) -> int:
    """Put the trial's tokens where the script looks for them; the size of their vocabulary."""
    import numpy as np

    meta = json.loads((data / "meta.json").read_text(encoding="utf-8"))
    train = (data / "train.bin").resolve()
    tokens = np.fromfile(train, dtype=np.uint16)
    for place, split in TOKENS.items():
        path = Path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            continue
        if split == "train":
            path.symlink_to(train)
        else:
            tokens[-max(10_000, int(VALIDATION * len(tokens))) :].tofile(path)
    chars = meta.get("chars") or []
    told = {
        "vocab_size": meta["vocab_size"],
        "itos": dict(enumerate(chars)),
        "stoi": {char: number for number, char in enumerate(chars)},
    }
    for place in META:
        if not Path(place).exists():
            Path(place).write_bytes(pickle.dumps(told))
    return int(meta["vocab_size"])


def _shifted(seed_with: Callable[..., Any], by: int) -> Callable[..., Any]:
    """The same function, its seed moved by the trial's: a script that always says 1337 has a seed a trial then."""
    return lambda seed=0, *more: seed_with((seed + by) % 2**32 if isinstance(seed, int) else seed, *more)


def run(source: str, options: list[str]) -> tuple[Any, dict[str, Any]]:
    """Run the script; (the first model that it calls, as it is at the end; the plain values among its names)."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    called: list[Any] = []

    def remember(module: Any, inputs: Any) -> None:
        called.append(module)
        hook.remove()

    hook = register_module_forward_pre_hook(remember)
    sys.argv = [SCRIPT, *options]
    names = _as_main()
    try:
        exec(compile(source, SCRIPT, "exec"), names)
    except SystemExit as end:
        if end.code:
            raise
    if not called:
        sys.exit(f"{SCRIPT} has called no model: there is nothing to judge.")
    model = called[0]
    while hasattr(model, "_orig_mod") or type(model).__name__.endswith("DataParallel"):
        model = getattr(model, "_orig_mod", None) or model.module
    return model, {k: v for k, v in names.items() if isinstance(v, PLAIN) and not k.startswith("__")}


def _as_main() -> dict[str, Any]:
    """The names of a new module that is ``__main__`` from now on: where pickle looks for what a script defines."""
    module = types.ModuleType("__main__")
    module.__file__ = str(HERE / SCRIPT)
    sys.modules["__main__"] = module
    return module.__dict__


def load(checkpoint: str, device: str) -> Callable[[Any], Any]:
    """The trained model: int64 tokens (B, T) to float logits (B, T, V), V the vocabulary of the data."""
    import torch

    saved = torch.load(checkpoint, map_location=device, weights_only=False)
    import_with(saved["values"])
    names = _as_main()
    names |= saved["names"]
    exec(compile(_definitions((HERE / SCRIPT).read_text(encoding="utf-8")), SCRIPT, "exec"), names)
    names |= saved["names"]
    model = torch.load(io.BytesIO(saved["model"]), map_location=device, weights_only=False).to(device).eval()
    few = torch.zeros(2, 3, dtype=torch.long, device=device)
    with torch.no_grad():
        inputs = next((n for n in (1, 2) if _logits(model, (few,) * n) is not None), 0)
    if not inputs:
        raise ValueError("The model gives no logits (B, T, V), neither for tokens alone nor with targets.")

    def logits(tokens: Any) -> Any:
        return _logits(model, (tokens.to(device),) * inputs)[..., : saved["vocabulary"]].float()

    return logits


def _logits(model: Any, inputs: tuple[Any, ...]) -> Any:
    """Logits (B, T, V) of tokens (B, T), or None; some models want targets, and get the tokens again."""
    try:
        found = model(*inputs)
    except TypeError:
        return None
    found = getattr(found, "logits", found)
    if isinstance(found, dict):
        found = found.get("logits")
    if isinstance(found, tuple | list):
        found = next((part for part in found if getattr(part, "ndim", 0) > 1), None)
    batch, length = inputs[0].shape
    if getattr(found, "ndim", 0) == 2 and found.shape[0] == batch * length:
        return found.view(batch, length, -1)
    right = getattr(found, "ndim", 0) == 3 and tuple(found.shape[:2]) == (batch, length)
    return found if right else None


def _definitions(source: str) -> ast.Module:
    """What a script imports and defines, without what it does."""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    tree = ast.parse(source)
    tree.body = [statement for statement in tree.body if isinstance(statement, kept)]
    return tree


if __name__ == "__main__":
    main()
