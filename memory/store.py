"""The projection: one JSON file a record, for people, tools and agents. Git is the truth (``notes.py``)."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path

from pydantic import ValidationError

from darwin.memory.records import Record

DAMAGED = "damaged"
"""Folder of the workspace for what was found damaged."""


def to_json(record: Record) -> bytes:
    """The one JSON form of a record: two-space indent, field order as declared, a newline at the end."""
    return (record.model_dump_json(by_alias=True, indent=2) + "\n").encode()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


class Store:
    """The workspace's ``memory/`` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.aside: list[Path] = []  # what was found damaged, where it lies now

    def put(self, path: str, record: Record) -> None:
        """Write one record, for example to ``individuals/g001-ada-1.json``."""
        write_atomically(self.folder / path, to_json(record))

    def put_if_changed(self, path: str, record: Record) -> bool:
        """Write the record unless the file already says the same; True if it was written.

        A file that is no earlier state of that record, but damaged or somebody else's, is set aside first.
        """
        file = self.folder / path
        if file.is_file():
            found = file.read_bytes()
            if found == to_json(record):
                return False
            if not _is_state_of(record, found):
                self.aside.append(set_aside(self.folder.parent, file))
        elif file.exists():
            self.aside.append(set_aside(self.folder.parent, file))
        self.put(path, record)
        return True

    def read(self, path: str) -> bytes | None:
        """A file's content; None where there is no file."""
        file = self.folder / path
        return file.read_bytes() if file.is_file() else None

    def says(self, path: str, record: Record) -> bool | None:
        """Whether a file says what a record does, if perhaps in fewer words: one that an earlier darwin wrote lacks the
        fields that came later. None where there is no file."""
        data = self.read(path)
        if data is None:
            return None
        try:
            return data == to_json(record) or type(record).model_validate_json(data) == record
        except ValidationError:
            return False

    def strays(self, folder: str, known: Container[str]) -> list[str]:
        """The files of a folder that belong to no record; ``known`` are the ids."""
        files = sorted(file.name for file in (self.folder / folder).glob("[!.]*"))
        return [
            name for name in files if not name.endswith(".json") or name.removesuffix(".json") not in known
        ]

    def set_strays_aside(self, folder: str, known: Container[str]) -> None:
        """Set aside what belongs to no record."""
        for name in self.strays(folder, known):
            self.aside.append(set_aside(self.folder.parent, self.folder / folder / name))


def set_aside(workspace: Path, path: Path) -> Path:
    """Move what is damaged into ``damaged/`` of the workspace, so that nothing is deleted; where it is now."""
    inside = path.relative_to(workspace)
    parts = ("git", *inside.parts[1:]) if inside.parts[0] == ".git" else inside.parts
    target = workspace.joinpath(DAMAGED, *parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while target.exists() or target.is_symlink():
        number += 1
        target = target.with_name(f"{parts[-1]}.{number}")
    path.rename(target)
    return target


def _is_state_of(record: Record, data: bytes) -> bool:
    """Whether a file's content is a record of the same kind and id."""
    try:
        found = type(record).model_validate_json(data)
    except ValidationError:
        return False
    return getattr(found, "id", None) == getattr(record, "id", None)
