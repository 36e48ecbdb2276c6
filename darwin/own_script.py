"""A person's own script and the files it needs: found in their folder and read, never run."""

from __future__ import annotations

import ast
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from darwin.errors import UsageError
from darwin.lineage import LARGEST_FILE
from darwin.origin import visible

AVAILABLE = {"torch", "numpy", *sys.stdlib_module_names}
"""What a trial can import besides a genome's own files."""


def sources_in(folder: Path) -> dict[str, str]:
    """The Python files below a folder that its repository does not ignore, and that are no environment's."""
    seen, found = visible(folder) or None, {}
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in ("__pycache__", "site-packages") for part in name.parts)
        if hidden or (seen is not None and name.as_posix() not in seen):
            continue
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_FILE:
            continue
        try:
            found[name.as_posix()] = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
    return found


def parsed(path: str, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise UsageError(f"{path}, line {line} is no Python that can be read: {error.args[0]}.") from None


def started(folder: Path, sources: Mapping[str, str], command: str | None) -> tuple[str, list[str]]:
    """The script and its options."""
    if command is not None:
        try:
            words = [word for word in shlex.split(command) if word not in ("python", "python3", "-u")]
        except ValueError as error:
            raise UsageError(f"--train {command} cannot be split into words ({error}).") from None
        script = words[0].removeprefix("./") if words else ""
        if script not in sources:
            raise UsageError(
                f'--train "{command}": there is no {script or "script"} in {folder} that can be read.'
            )
        return script, words[1:]
    trains = [path for path, source in sources.items() if _calls(source, "backward")]
    for few in (trains, [p for p in trains if "/" not in p], [p for p in trains if "train" in Path(p).stem.lower()],
                [p for p in trains if Path(p).name == "train.py"]):  # fmt: skip
        if len(few) == 1:
            return few[0], []
    if not trains:
        raise UsageError(
            f"No script in {folder} trains a model: none calls backward(). Is it another folder?"
        )
    raise UsageError(
        f"{len(trains)} scripts in {folder} train a model: {', '.join(trains[:6])}. Say which, as you start it: "
        f'--train "python {trains[0]}"'
    )


def _calls(source: str, method: str) -> bool:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(n, ast.Call) and getattr(n.func, "attr", "") == method for n in ast.walk(tree))


def used_by(script: str, options: list[str], sources: Mapping[str, str]) -> list[str]:
    """The script, what it imports or names, and the files among its options."""
    named = [option for option in options if option in sources]
    found = [script, *imported_by(script, sources), *named]
    for path in list(found):
        tree = parsed(path, sources[path])
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        found += [text for text in texts if text in sources]
    return list(dict.fromkeys(found))


def imported_by(script: str, sources: Mapping[str, str]) -> list[str]:
    """The files of the folder that a script imports, directly or not."""
    roots = {"", "" if "/" not in script else script.rpartition("/")[0] + "/"}
    found: list[str] = []
    todo = [script]
    while todo:
        path = todo.pop(0)
        for module in _modules(parsed(path, sources[path]), path):
            parts = module.replace(".", "/")
            packages = [
                "/".join(parts.split("/")[: n + 1]) + "/__init__.py" for n in range(parts.count("/") + 1)
            ]
            for root in roots if not module.startswith("/") else {""}:
                for name in (*packages, parts + ".py"):
                    place = (root + name).lstrip("/")
                    if place in sources and place not in (*found, script):
                        found.append(place)
                        todo.append(place)
    return found


def _modules(tree: ast.Module, path: str) -> Iterator[str]:
    """Dotted names that a file may import; those beside it begin with a slash."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parents = path.split("/")[: -node.level]
                module = "/" + ".".join([*parents, *([module] if module else [])])
            yield module
            yield from (
                f"{module}.{alias.name}" if module.strip("/") else f"{module}{alias.name}"
                for alias in node.names
            )


def foreign_imports(used: list[str], sources: Mapping[str, str]) -> list[str]:
    """A sentence for each import that no trial can follow, of those made as soon as a file is read."""
    own = {part.removesuffix(".py") for path in sources for part in path.split("/")}
    found = []
    for path in used:
        for node in parsed(path, sources[path]).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            found += [
                f"{path}, line {node.lineno} imports {name}, and a trial has torch and numpy alone: leave it out, or "
                "import it where it is used."
                for name in names
                if name.partition(".")[0] not in AVAILABLE | own or name.startswith("torch.utils.tensorboard")
            ]
    return found
