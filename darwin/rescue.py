"""Rescue: opening a workspace to write in it, whatever a crash has done to its files.

What is damaged is named, set aside in ``damaged/`` and never deleted, and rebuilt: refs from the records, records and
settings from git or from the JSON files. Git's own files that hold nothing of ours are made anew.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from git import Git, Repo
from git.exc import GitCommandError

from darwin.agents.members import FILE as AGENTS
from darwin.lineage import MAIN, configure
from darwin.memory import Memory, MemoryFault
from darwin.memory.errors import NewerFormat
from darwin.memory.notes import RECORDS, SETTINGS
from darwin.memory.rescue import lost, restore
from darwin.memory.store import set_aside
from darwin.workspace import CONFIG

REF = re.compile(rb"(ref: refs/\S+|[0-9a-f]{40})\n?")
PACKED = re.compile(rb"#.*|\^[0-9a-f]{40}|[0-9a-f]{40} refs/\S+")


def rescue(folder: Path) -> list[str]:
    """Mend a workspace so that it can be opened; a sentence on everything that was damaged, none where nothing was.

    Call with the workspace locked.

    Raises:
        MemoryFault: records are lost for good (they are named), or were written by a newer darwin.
    """
    folder = folder.resolve()  # git is asked from within it
    git = folder / ".git"
    said = [*_head(folder, git), *_config(folder, git), *_packed(folder, git), *_loose(folder, git)]
    said += _index(folder, git)
    repo = Repo(folder)
    said += _settings(repo, folder)
    return said + _records(repo, folder / "memory")


def _records(repo: Repo, folder: Path) -> list[str]:
    try:
        memory = Memory(repo, folder)
    except NewerFormat:
        raise
    except MemoryFault:
        return restore(repo, folder)
    known = {*memory.individuals, *(["run"] if memory.begun else [])}
    return restore(repo, folder) if lost(repo, known, folder) else []


def _head(folder: Path, git: Path) -> list[str]:
    head = git / "HEAD"
    if head.is_file() and REF.fullmatch(head.read_bytes()):
        return []
    kept = _aside(folder, head)
    head.write_text(f"ref: {MAIN}\n")
    return [f".git/HEAD was damaged{kept}; it says main again."]


def _config(folder: Path, git: Path) -> list[str]:
    config = git / "config"
    try:
        if Git(folder).config("--file", str(config), "--get", "core.repositoryformatversion"):
            return []
    except GitCommandError:
        pass
    kept = _aside(folder, config)
    Git(folder).init("--quiet", "--template=")
    configure(Repo(folder))
    return [f".git/config was damaged{kept}; it was made anew, without settings of your own."]


def _packed(folder: Path, git: Path) -> list[str]:
    packed = git / "packed-refs"
    if not packed.exists():
        return []
    *lines, last = packed.read_bytes().split(b"\n")  # a last line without an end may be half a name
    good = [line for line in lines if PACKED.fullmatch(line)]
    if not last and len(good) == len(lines):
        return []
    kept = _aside(folder, packed)
    refs = [line for line in good if not line.startswith((b"#", b"^"))]
    packed.write_bytes(b"".join(line + b"\n" for line in refs))
    return [f".git/packed-refs was damaged{kept}; {len(refs)} refs in it could be read."]


def _loose(folder: Path, git: Path) -> list[str]:
    said = []
    for path in sorted(p for p in (git / "refs").rglob("*") if p.is_file() and p.suffix != ".lock"):
        if not REF.fullmatch(path.read_bytes()):
            name = path.relative_to(git)
            said.append(f"{name} was damaged{_aside(folder, path)}; it is set as the records say.")
    return said


def _index(folder: Path, git: Path) -> list[str]:
    """The list of checked-out files, which git makes anew; ``Lineage.repair`` has it made."""
    index = git / "index"
    if not index.is_file():
        return [".git/index was missing; it was made anew."]
    data = index.read_bytes()
    if data[:4] == b"DIRC" and hashlib.sha1(data[:-20], usedforsecurity=False).digest() == data[-20:]:
        return []
    return [f".git/index was damaged{_aside(folder, index)}; it was made anew."]


def _settings(repo: Repo, folder: Path) -> list[str]:
    """The files of settings as they were when a run last began, where they are lost, empty or cut short.

    What a person may have written is left alone: a mistake in it is told, not mended.
    """
    said = []
    for name in (CONFIG, AGENTS):
        try:
            before = repo.git.show(f"{RECORDS}:{SETTINGS}{name}", strip_newline_in_stdout=False).encode()
        except GitCommandError:
            continue
        path = folder / name
        found = path.read_bytes() if path.is_file() else b""
        if found.strip() and b"\0" not in found and (found == before or not before.startswith(found)):
            continue
        kept = _aside(folder, path)
        path.write_bytes(before)
        said.append(f"{name} was damaged{kept}; it was written anew as the last run began with it.")
    return said


def _aside(folder: Path, path: Path) -> str:
    """Where a damaged file is kept, in words."""
    if not path.exists() and not path.is_symlink():
        return " (it was missing)"
    return f" (kept as {set_aside(folder, path)})"
