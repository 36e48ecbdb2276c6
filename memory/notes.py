"""The truth: every record lives in git, as notes that one ref transaction writes.

``refs/notes/darwin-records`` holds each individual's whole record as the note of its commit, and beside the
notes, in the same tree, ``run.json``, ``decisions/<id>.json`` and ``requests/<id>.json`` (git keeps files in a notes
tree that are not notes). One ref therefore holds everything: a reader sees all of a step or nothing of it.
``refs/notes/darwin`` has one readable line per individual, for a plain ``git log``.

Both refs point to commits without parents, so ``git log --graph --all`` stays a family tree.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from git import Repo
from git.exc import GitCommandError, ODBError
from pydantic import ValidationError

from darwin.memory.errors import MemoryFault, NewerFormat
from darwin.memory.records import SCHEMA, Decision, Individual, Record, Run
from darwin.memory.requests import Request

RECORDS = "refs/notes/darwin-records"
LINES = "refs/notes/darwin"
SIGNATURE = "darwin <darwin@agents.invalid> 1735689600 +0000"
"""Author of the notes commits; the date is fixed, as the notes' own history means nothing."""

SETTINGS = "settings/"
"""Folder of the records' tree for the workspace's own files of settings, as they were when a run last began."""

REMEDY = "Mend it: darwin memory rebuild"
UNREADABLE = (ODBError, OSError, ValueError, GitCommandError, zlib.error)
"""What reading git's objects raises where they are missing or damaged."""

Entries = dict[str, tuple[str, str]]
"""A git tree: name -> (mode, object id)."""


@dataclass
class Contents:
    """All records, as read from git. ``individuals`` are in order of birth."""

    individuals: dict[str, Individual] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    run: Run | None = None
    settings: dict[str, str] = field(default_factory=dict)  # name of a file of settings -> its text


def kind_of(path: str) -> type[Record] | None:
    """What a blob of the records' tree is; None for a file of settings."""
    if path.startswith(SETTINGS):
        return None
    if path == "run.json":
        return Run
    if path.startswith("requests/"):
        return Request
    return Decision if path.startswith("decisions/") else Individual


def fanned(path: str) -> str:
    """A path in a notes tree as we write it: of a note ``ab/cdef...``, however many folders git has put it into."""
    name = path.replace("/", "")
    return f"{name[:2]}/{name[2:]}" if len(name) == 40 and set(name) <= set("0123456789abcdef") else path


def refuse_newer(data: bytes) -> None:
    """Raise NewerFormat where a record that cannot be read says that it was written by a newer darwin."""
    with suppress(ValueError, AttributeError, TypeError):
        number = json.loads(data).get("schema")
        if number > SCHEMA:
            raise NewerFormat(
                f"This workspace was written by a newer darwin (record format {number}, this one reads {SCHEMA}). "
                "Upgrade darwin."
            )


def one_sentence(error: GitCommandError) -> str:
    """What git said last, or that it was killed."""
    said = [line for line in str(error.stderr).strip(" \n'").splitlines() if line.strip()]
    if said:
        return said[-1].removeprefix("stderr: ").strip(" '").removeprefix("fatal: ") + "."
    return (
        f"it was killed by signal {-error.status}."
        if isinstance(error.status, int) and error.status < 0
        else (f"it ended with {error.status}.")
    )


def store_object(repo: Repo, kind: str, data: bytes) -> str:
    """Write one git object (``blob``, ``tree`` or ``commit``) and return its id; nothing refers to it yet.

    As a loose object, whole or not at all, as git writes it: a ``git hash-object`` for each costs 4 ms of CPU.
    """
    whole = f"{kind} {len(data)}\0".encode() + data
    name = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    folder = Path(repo.common_dir) / "objects" / name[:2]
    path = folder / name[2:]
    if not path.exists():
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
        temporary = folder / f"tmp_obj_{os.getpid()}"  # git's name for it: git gc removes one that was left
        try:
            with temporary.open("wb") as file:
                file.write(zlib.compress(whole, 1))  # git packs it anew later
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o444)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    return name


def store_tree(repo: Repo, entries: Entries) -> str:
    """Write a git tree and return its id. Git sorts folders as if their names ended in a slash."""
    rows = sorted(_tree_row(name, *entry) for name, entry in entries.items())
    return store_object(repo, "tree", b"".join(row for _, row in rows))


@lru_cache(maxsize=1024)  # the records' tree has hundreds of folders, and a step changes one of them
def _tree_row(name: str, mode: str, oid: str) -> tuple[bytes, bytes]:
    """What an entry of a tree is sorted by, and the entry."""
    order = name + "/" if mode == "40000" else name
    return order.encode(), f"{mode} {name}\0".encode() + bytes.fromhex(oid)


def commit_text(tree: str, parents: tuple[str, ...], author: str, committer: str, message: str) -> bytes:
    """The content of a git commit object; ``author`` and ``committer`` end in ``<seconds> <zone>``."""
    lines = [f"tree {tree}", *(f"parent {p}" for p in parents), f"author {author}", f"committer {committer}"]
    return ("\n".join(lines) + "\n\n" + message.rstrip("\n") + "\n").encode()


class Notes:
    """Reads and writes the two notes refs. One writer at a time: the workspace lock sees to that."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._trees: dict[str, dict[str, Entries]] = {}  # ref -> folder ("" is the root) -> entries

    def read(self) -> Contents:
        """Every record in the notes.

        Raises:
            MemoryFault: a record cannot be parsed (its path in the notes tree is named).
        """
        contents = Contents()
        individuals = []
        for path, data in self._blobs(RECORDS):
            kind = kind_of(path)
            if kind is None:
                contents.settings[path.removeprefix(SETTINGS)] = data.decode(errors="replace")
                continue
            try:
                record = kind.model_validate_json(data)
                if isinstance(record, Run):
                    contents.run = record
                elif isinstance(record, Decision):
                    contents.decisions[record.id] = record
                elif isinstance(record, Request):
                    contents.requests[record.id] = record
                elif isinstance(record, Individual):
                    individuals.append(record)
            except ValidationError as error:
                refuse_newer(data)
                raise MemoryFault(
                    f"{RECORDS}:{path} is not a record this version can read "
                    f"({error.error_count()} problems, first: {error.errors()[0]['msg']}). "
                    f"{REMEDY}"
                ) from error
        contents.individuals = {i.id: i for i in sorted(individuals, key=lambda i: (i.ordinal, i.id))}
        return contents

    def stage(self, records: Mapping[str, bytes], lines: Mapping[str, str]) -> dict[str, str]:
        """Write new contents as objects and return the refs to move: {ref: commit id}.

        Args:
            records: path or commit id -> JSON. A 40-digit commit id is stored as the note of that commit.
            lines: commit id -> readable line.
        """
        readable = {commit: (line + "\n").encode() for commit, line in lines.items()}
        updates = {RECORDS: self._update(RECORDS, records, "Records of every individual (git notes)")}
        if readable:
            updates[LINES] = self._update(LINES, readable, "Perplexity, MFU and verdict of every individual")
        return updates

    def whole(self, records: Mapping[str, bytes]) -> dict[str, str]:
        """The same for records that replace all there are."""
        self._trees[RECORDS] = {"": {}}
        return self.stage(records, {})

    def count(self, ref: str) -> int:
        """How many notes a ref holds."""
        return len(self._listing(ref))

    def _update(self, ref: str, changes: Mapping[str, bytes], subject: str) -> str:
        if ref not in self._trees:
            self._trees[ref] = self._load_trees(ref)
        folders = self._trees[ref]
        for path, data in changes.items():
            folder, _, name = fanned(path).rpartition("/")
            folders.setdefault(folder, {})[name] = ("100644", store_object(self._repo, "blob", data))
            if folder:
                tree = store_tree(self._repo, folders[folder])
                folders.setdefault("", {})[folder] = ("40000", tree)
        root = store_tree(self._repo, folders.get("", {}))
        text = commit_text(root, (), SIGNATURE, SIGNATURE, subject)
        return store_object(self._repo, "commit", text)

    def _listing(self, ref: str) -> list[tuple[str, str, str]]:
        """(mode, object id, path) of each blob under a ref; none when the ref does not exist."""
        try:
            out = self._repo.git.ls_tree("-r", "-z", ref)
        except GitCommandError as error:
            if "valid object name" in str(error.stderr):
                return []
            why = one_sentence(error)
            raise MemoryFault(f"git could not read {ref}: {why} {REMEDY}") from error
        rows = [row.partition("\t") for row in out.split("\0") if row]
        return [(meta.split()[0], meta.split()[2], path) for meta, _, path in rows]

    def _blobs(self, ref: str) -> list[tuple[str, bytes]]:
        """(path, content) of each blob under a ref, by one git for all of them."""
        rows = self._listing(ref)
        if not rows:
            return []
        asked = "".join(f"{oid}\n" for _, oid, _ in rows).encode()
        git = self._repo.git.cat_file("--batch", as_process=True, istream=-1)  # ended with its last reference
        out, _ = git.communicate(asked)
        found, start = [], 0
        for _, oid, path in rows:  # a damaged object ends the answer, a missing one has no size
            end = out.find(b"\n", start)
            words = out[start:end].split() if end > 0 else []
            if len(words) != 3:
                raise MemoryFault(f"{ref}:{path} cannot be read (git object {oid[:10]}). {REMEDY}")
            start = end + 1 + int(words[2])
            found.append((path, out[end + 1 : start]))
            start += 1
        return found

    def _load_trees(self, ref: str) -> dict[str, Entries]:
        folders: dict[str, Entries] = {"": {}}
        for mode, oid, path in self._listing(ref):
            folder, _, name = fanned(path).rpartition("/")
            folders.setdefault(folder, {})[name] = (mode, oid)
        for folder, entries in folders.items():
            if folder:
                folders[""][folder] = ("40000", store_tree(self._repo, entries))
        return folders
