"""What a script needs beside its own files to run elsewhere: the packages and data sets that people have granted."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from darwin import packages
from darwin.errors import UsageError
from darwin.further import file_of
from darwin.memory import Memory
from darwin.memory.records import Individual
from darwin.memory.requests import Kind, Request, granted

REQUIREMENTS = "requirements.txt"
DATA = "granted"
"""Folder of the data sets that come along."""

MOST_COPIED = 20_000_000
"""Bytes of a data set that comes along; of a larger one the command that copies it is told."""


@dataclass(frozen=True)
class Needs:
    """``packages`` are pip's lines, each of one exact file by its hash; ``data`` the requests that brought text."""

    packages: tuple[str, ...]
    data: tuple[Request, ...]

    @property
    def names(self) -> list[str]:
        """What is needed, by name."""
        return [line.partition(" ")[0] for line in self.packages] + [f"{r.given}.bin" for r in self.data]


def needs(memory: Memory, chosen: Individual, files: Mapping[str, bytes]) -> Needs:
    """The packages that were there in its trials, and the data sets whose files it names."""
    layered = any(trial.packages for trial in chosen.all_trials)
    data = (r for r in granted(memory.requests, Kind.DATASET) if _named(f"{r.given}.bin", files))
    return Needs(packages.lock(memory.requests) if layered else (), tuple(data))


def _named(word: str, files: Mapping[str, bytes]) -> bool:
    return any(word.encode() in data for data in files.values())


def pack(found: Needs, target: Path) -> list[str]:
    """Lay what is needed into an exported folder; how to put it in its place, as paragraphs of Markdown."""
    told = []
    if found.packages:
        path = target / REQUIREMENTS
        if path.exists():  # the script's own
            path = target / f"granted-{REQUIREMENTS}"
        path.write_text("\n".join(found.packages) + "\n", encoding="utf-8")
        told += [
            f"Beside torch and numpy it had the packages of {path.name}, each locked to one file by its hash:",
            f"    pip install --no-deps --require-hashes -r {path.name}",
        ]
    for request in found.data:
        told += _data(request, target)
    return told


def _data(request: Request, target: Path) -> list[str]:
    """One data set, copied if it is small; what to do with it."""
    name = f"{request.given}.bin"
    try:
        source = file_of(request)
    except UsageError as error:
        return [f"It trains on {name} too, which could not come along: {error}"]
    if source.stat().st_size <= MOST_COPIED:
        (target / DATA).mkdir(exist_ok=True)
        shutil.copyfile(source, target / DATA / name)
        words, place = "which came along", f"{DATA}/{name}"
    else:
        size = f"{source.stat().st_size / 1e6:,.0f} MB"
        words, place = f"which is too large to come along ({size})", shlex.quote(str(source))
    return [f"It trains on {name} too, {words}. Put it beside train.bin:", f"    cp {place} ../data/{name}"]
