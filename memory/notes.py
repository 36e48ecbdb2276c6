"""The truth: every record lives in git, as notes that one ref transaction writes.

``refs/notes/darwin-records`` holds each individual's whole record as the note of its commit, and beside the
notes, in the same tree, ``run.json``, ``decisions/<id>.json`` and ``requests/<id>.json`` (git keeps files in a notes
tree that are not notes). One ref therefore holds everything: a reader sees all of a step or nothing of it.
``refs/notes/darwin`` has one readable line per individual, for a plain ``git log``.

Both refs point to commits without parents, so ``git log --graph --all`` stays a family tree.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from git import Repo
from git.exc import GitCommandError
from pydantic import ValidationError

from darwin.memory.errors import MemoryFault
from darwin.memory.records import Decision, Individual, Run
from darwin.memory.requests import Request

RECORDS = "refs/notes/darwin-records"
LINES = "refs/notes/darwin"
SIGNATURE = "darwin <darwin@agents.invalid> 1735689600 +0000"
"""Author of the notes commits; the date is fixed, as the notes' own history means nothing."""

Entries = dict[str, tuple[str, str]]
"""A git tree: name -> (mode, object id)."""


@dataclass
class Contents:
    """All records, as read from git. ``individuals`` are in order of birth."""

    individuals: dict[str, Individual] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    run: Run | None = None


def store_object(repo: Repo, kind: str, data: bytes) -> str:
    """Write one git object (``blob``, ``tree`` or ``commit``) and return its id; nothing refers to it yet.

    As a loose object, whole or not at all, as git writes it: a ``git hash-object`` for each costs 4 ms of CPU.
    """
    whole = f"{kind} {len(data)}\0".encode() + data
    name = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    folder = Path(repo.common_dir) / "objects" / name[:2]
    path = folder / name[2:]
    if not path.exists():
        folder.mkdir(exist_ok=True)
        temporary = folder / f"tmp_obj_{os.getpid()}"  # git's name for it: git gc removes one that was left
        with temporary.open("wb") as file:
            file.write(zlib.compress(whole))
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o444)
        temporary.replace(path)
    return name


def store_tree(repo: Repo, entries: Entries) -> str:
    """Write a git tree and return its id. Git sorts folders as if their names ended in a slash."""
    order = sorted(entries, key=lambda name: name + "/" if entries[name][0] == "40000" else name)
    data = b"".join(
        f"{entries[name][0]} {name}".encode() + b"\0" + bytes.fromhex(entries[name][1]) for name in order
    )
    return store_object(repo, "tree", data)


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
            try:
                if path == "run.json":
                    contents.run = Run.model_validate_json(data)
                elif path.startswith("decisions/"):
                    decision = Decision.model_validate_json(data)
                    contents.decisions[decision.id] = decision
                elif path.startswith("requests/"):
                    request = Request.model_validate_json(data)
                    contents.requests[request.id] = request
                else:
                    individuals.append(Individual.model_validate_json(data))
            except ValidationError as error:
                raise MemoryFault(
                    f"{RECORDS}:{path} is not a record this version can read "
                    f"({error.error_count()} problems, first: {error.errors()[0]['msg']})."
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

    def count(self, ref: str) -> int:
        """How many notes a ref holds."""
        return len(self._listing(ref))

    def _update(self, ref: str, changes: Mapping[str, bytes], subject: str) -> str:
        if ref not in self._trees:
            self._trees[ref] = self._load_trees(ref)
        folders = self._trees[ref]
        for path, data in changes.items():
            folder, _, name = path.rpartition("/")
            if not folder and len(path) == 40:
                folder, name = path[:2], path[2:]
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
            raise MemoryFault(f"git could not read {ref}: {str(error.stderr).strip()}") from error
        rows = [row.partition("\t") for row in out.split("\0") if row]
        return [(meta.split()[0], meta.split()[2], path) for meta, _, path in rows]

    def _blobs(self, ref: str) -> list[tuple[str, bytes]]:
        rows = self._listing(ref)
        return [(path, self._repo.odb.stream(bytes.fromhex(oid)).read()) for _, oid, path in rows]

    def _load_trees(self, ref: str) -> dict[str, Entries]:
        folders: dict[str, Entries] = {"": {}}
        for mode, oid, path in self._listing(ref):
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, {})[name] = (mode, oid)
        for folder, entries in folders.items():
            if folder:
                folders[""][folder] = ("40000", store_tree(self._repo, entries))
        return folders
