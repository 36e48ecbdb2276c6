"""The projection: one JSON file a record, for people, tools and agents. Git is the truth (``notes.py``)."""

from __future__ import annotations

import os
from pathlib import Path

from darwin.memory.records import Record


def to_json(record: Record) -> bytes:
    """The one JSON form of a record: two-space indent, field order as declared, a newline at the end."""
    return (record.model_dump_json(by_alias=True, indent=2) + "\n").encode()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Store:
    """The workspace's ``memory/`` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, path: str, record: Record) -> None:
        """Write one record, for example to ``individuals/g001-ada-1.json``."""
        write_atomically(self.folder / path, to_json(record))

    def put_if_changed(self, path: str, record: Record) -> bool:
        """Write the record unless the file already says the same; True if it was written."""
        file = self.folder / path
        if file.is_file() and file.read_bytes() == to_json(record):
            return False
        self.put(path, record)
        return True
