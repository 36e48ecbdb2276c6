"""Granted packages: resolved once to exact files, each with its hash, and laid over the image that trials run from.

Containers only: a plain process has what its Python has, and nothing is installed there for scripts.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from darwin.config import Config
from darwin.confinement import ready_image, recipe
from darwin.errors import UsageError
from darwin.memory.requests import Kind, Request, granted
from darwin.sandbox import engine, image
from darwin.sandbox.errors import EngineError

PROVIDED = ("torch", "numpy")
_SECONDS = 600  # for pip to answer


class Packages:
    """Puts what is granted by now into force for the trials that follow."""

    def __init__(self, provide: Callable[[tuple[str, ...]], None] | None) -> None:
        self._provide = provide
        self._in_force: tuple[str, ...] = ()

    def ready(self, requests: Mapping[str, Request]) -> str | None:
        """The digest of the lock in force from now on, for the trials' records; None where torch and numpy are all."""
        lines = lock(requests)
        if self._provide is not None and lines not in ((), self._in_force):
            self._provide(lines)
            self._in_force = lines
        return self.digest(requests)

    def digest(self, requests: Mapping[str, Request]) -> str | None:
        """The same, and nothing is put into force."""
        lines = lock(requests)
        if self._provide is None or not lines:
            return None
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def lock(requests: Mapping[str, Request]) -> tuple[str, ...]:
    """The lines of all granted packages together, one a package, by name."""
    return tuple(sorted({line for r in granted(requests, Kind.PACKAGE) for line in r.rulings[-1].lock}))


def resolve(requirement: str, held: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """(``name==version``, lock lines) of a package and all that it needs but torch and numpy, as pip resolves them.

    Only wheels count, so that nothing of theirs is run here; ``held`` are lines granted before, which stay.

    Raises:
        UsageError: there is no such package, or none that goes with what is there.
    """
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        pins = [f"{name}=={version(name).partition('+')[0]}" for name in PROVIDED]
        constraints.write_text("\n".join([*pins, *(line.partition(" ")[0] for line in held)]) + "\n")
        command = [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"),
            *(
                "--ignore-installed",
                "--only-binary=:all:",
                "--report",
                "-",
                "-c",
                str(constraints),
                requirement,
            ),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise UsageError(f"pip did not resolve {requirement} within {_SECONDS} seconds.") from None
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no word"]
        raise UsageError(f"pip cannot resolve {requirement}: {words[-1].removeprefix('ERROR: ')[:300]}")
    lines, named = [], ""
    for found in json.loads(done.stdout)["install"]:
        name, number = found["metadata"]["name"], found["metadata"]["version"]
        digest = found["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if name.lower() in PROVIDED:
            continue
        if not digest:
            raise UsageError(f"pip gives no hash of {name} {number}, so it cannot be locked.")
        named = f"{name}=={number}" if found["requested"] else named
        lines.append(f"{name}=={number} --hash=sha256:{digest}")
    return named, tuple(sorted(lines))


def prepare(
    requirement: str, config: Config, requests: Mapping[str, Request], say: Callable[..., None]
) -> tuple[str, tuple[str, ...]]:
    """Resolve a package and build the image's layer that has it, so that a run has only to use it.

    Raises:
        UsageError: there is no engine, no such package, or it cannot be installed.
    """
    if config.sandbox == "process":
        raise UsageError(
            "Packages are a layer of the containers' image, and this workspace has sandbox = process."
        )
    try:
        with closing(engine.connect()) as client:
            held = lock(requests)
            named, lines = resolve(requirement, held)
            tag = ready_image(client, recipe(config.base_image, cuda=config.device != "cpu"), say)
            image.build(client, image.Layer(tag, tuple(sorted({*held, *lines}))), say)
    except EngineError as error:
        raise UsageError(f"Packages are a layer of the containers' image: {error}") from None
    return named, lines
