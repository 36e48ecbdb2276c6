"""The workspace: the folder of one evolution, found, made, locked and opened."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from darwin.agents.knowledge import priors
from darwin.config import Config, load
from darwin.errors import UsageError
from darwin.lineage import Lineage
from darwin.memory import Memory
from darwin.memory.notes import RECORDS

DEFAULT = Path("evolution")
CONFIG = "darwin.toml"
LOCK = "darwin.lock"


class InUse(UsageError):
    """Another process holds the workspace."""


@dataclass(frozen=True)
class Workspace:
    """An opened workspace."""

    folder: Path
    config: Config
    lineage: Lineage
    memory: Memory

    @property
    def artifacts(self) -> Path:
        """Folder of logs, one folder an individual."""
        return self.folder / "artifacts"


def is_workspace(folder: Path) -> bool:
    """Whether the folder is a workspace, if need be one that has lost its configuration."""
    git = folder / ".git"
    if not git.is_dir():
        return False
    packed = git / "packed-refs"
    return (
        (folder / CONFIG).is_file()
        or (git / RECORDS).is_file()
        or (packed.is_file() and f" {RECORDS}\n".encode() in packed.read_bytes())
    )


def require_workspace(folder: Path) -> None:
    """Raise UsageError where there is no workspace."""
    if not folder.exists():
        raise UsageError(f"There is no workspace at {folder}. Make one: darwin evolve --workspace {folder}")
    if not is_workspace(folder):
        raise UsageError(
            f"{folder} is not a darwin workspace (it has no {CONFIG} beside a .git folder). "
            "Choose another --workspace, or a folder that does not exist yet."
        )


def locate(given: Path | None) -> Path:
    """The workspace meant: the option, ``DARWIN_WORKSPACE``, one found upwards as git does, or ``evolution``."""
    if given is not None:
        return given
    if os.environ.get("DARWIN_WORKSPACE"):
        return Path(os.environ["DARWIN_WORKSPACE"])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if is_workspace(folder):
            return folder
    return DEFAULT


def open_workspace(folder: Path) -> Workspace:
    """Open an existing workspace for reading.

    Raises:
        UsageError: there is none.
        MemoryFault: its records cannot be read.
    """
    require_workspace(folder)
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} has lost its {CONFIG}. Write it anew: darwin memory rebuild -C {folder}")
    config = load(folder / CONFIG)
    lineage = Lineage.open(folder)
    known = dict if config.control == "no-knowledge" else priors
    return Workspace(folder, config, lineage, Memory(lineage.repo, folder / "memory", known))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the workspace for writing; the lock goes with the process, however it ends.

    Raises:
        InUse: another process holds it (its number and start are named).
        UsageError: the folder is read-only.
    """
    path = folder / ".git" / LOCK
    try:
        file = path.open("a+")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise InUse(
                f"{folder} is in use by {_holder(file.read())}. Wait for it, or choose another --workspace."
            ) from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": time.strftime("%H:%M")}))
        file.flush()
        yield


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
