"""Rescue: records that git cannot give back any more, from the JSON files and from earlier states of the notes.

The JSON files are written right after git's transaction, so what they say is the record's last state or the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from git import Repo
from git.exc import GitCommandError
from pydantic import ValidationError

from darwin.memory.errors import MemoryFault
from darwin.memory.memory import move_refs
from darwin.memory.notes import RECORDS, UNREADABLE, Notes, fanned, kind_of, refuse_newer
from darwin.memory.records import Individual, Record
from darwin.memory.store import DAMAGED, set_aside

MOST_STATES = 100
"""Earlier states of the notes that a record is looked for in."""

INDIVIDUALS = "refs/darwin/individuals"


def lost(repo: Repo, known: set[str], folder: Path) -> bool:
    """Whether an individual that has its ref and its JSON file has no record any more, or the run's state is gone.

    ``known`` are the ids that have a record, and ``run`` if there is a run.
    """
    files = folder / "individuals"
    refs = {
        ref.rpartition("/")[2]
        for ref in repo.git.for_each_ref("--format=%(refname)", INDIVIDUALS).splitlines()
    }
    return any((files / f"{name}.json").is_file() for name in refs - known) or (
        "run" not in known and (folder / "run.json").is_file()
    )


def restore(repo: Repo, folder: Path) -> list[str]:
    """Write the records anew, each from the best source there is; a sentence on each that was damaged.

    Call with the workspace locked. ``folder`` is ``memory/``. What was damaged is set aside first.

    Raises:
        MemoryFault: a record is in no source any more, or was written by a newer darwin.
    """
    workspace, said = folder.parent, []
    files = dict(_files(repo, folder))
    rows = _rows(repo, RECORDS)
    if lost_ref := rows is None:
        said.append(f"{RECORDS} was lost.")
        rows = next(_earlier(repo), {})  # the last one first: what the ref was at
    good: dict[str, bytes] = {}
    for path, oid in rows.items():
        data = _blob(repo, oid)
        if data is not None and _is_record(path, data):
            good[path] = data
            continue
        aside = workspace / DAMAGED / "notes" / path
        aside.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data or b"")
        _free(repo, workspace, oid)
        source, mended = "its file in memory/", files.get(path)
        if mended is None:
            source, mended = "an earlier state of the notes", _from_earlier(repo, path)
        if mended is None:
            raise MemoryFault(
                f"{RECORDS}:{path} is damaged and neither memory/ nor an earlier state of the notes has it. What is "
                f"left of it is in {aside}; start again from a copy of the workspace."
            )
        good[path] = mended
        said.append(f"{RECORDS}:{path} was damaged (kept as {aside}) and was written anew from {source}.")
    back = [path for path in files if path not in good]
    good |= {path: files[path] for path in back}
    if not any(kind_of(path) is Individual for path in good):
        raise MemoryFault(
            f"{RECORDS} is lost, and neither memory/ nor git's reflog has an earlier state of it."
        )
    if back or lost_ref:
        said.append(f"{len(back)} record(s) were written anew from memory/.")
    if said:
        move_refs(repo, Notes(repo).whole(good))
    return said


def _rows(repo: Repo, name: str) -> dict[str, str] | None:
    """The blobs of a state of the notes, path -> object id; None where git cannot list it."""
    try:
        out = repo.git.ls_tree("-r", "-z", name)
    except GitCommandError:
        return None
    rows = (row.partition("\t") for row in out.split("\0") if row)
    return {fanned(path): meta.split()[2] for meta, _, path in rows}


def _earlier(repo: Repo) -> Iterator[dict[str, str]]:
    """The states that the notes were in before, the last one first, as far as git still has them."""
    log = Path(repo.git_dir) / "logs" / RECORDS
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    for line in lines[: -MOST_STATES - 1 : -1]:
        rows = _rows(repo, line.split(" ")[1]) if line.count(" ") > 1 else None
        if rows is not None:
            yield rows


def _blob(repo: Repo, oid: str) -> bytes | None:
    try:
        return bytes(repo.odb.stream(bytes.fromhex(oid)).read())
    except UNREADABLE:
        return None


def _is_record(path: str, data: bytes) -> bool:
    """Whether a note is what should stand there. Raises NewerFormat for one that is only too new."""
    kind = kind_of(path)
    if kind is None:
        return True
    try:
        kind.model_validate_json(data)
    except ValidationError:
        refuse_newer(data)
        return False
    return True


def _files(repo: Repo, folder: Path) -> Iterator[tuple[str, bytes]]:
    """The records that the JSON files hold, by their path in the notes; of individuals those that have their ref."""
    rows = repo.git.for_each_ref("--format=%(refname) %(objectname)", INDIVIDUALS).splitlines()
    refs = {ref.rpartition("/")[2]: oid for ref, oid in (row.split(" ") for row in rows)}
    kinds = ("individuals", "decisions", "requests")
    for file in sorted(
        [*(path for name in kinds for path in (folder / name).glob("*.json")), folder / "run.json"]
    ):
        inside = file.relative_to(folder).as_posix()
        kind = Individual if inside.startswith("individuals/") else kind_of(inside)
        if kind is None or not file.is_file():
            continue
        with suppress(ValidationError):
            record: Record = kind.model_validate_json(file.read_bytes())
            data = (record.model_dump_json(by_alias=True) + "\n").encode()
            if not isinstance(record, Individual):
                yield inside, data
            elif refs.get(record.id) == record.commit:
                yield fanned(record.commit), data


def _from_earlier(repo: Repo, path: str) -> bytes | None:
    for rows in _earlier(repo):
        data = _blob(repo, rows[path]) if path in rows else None
        if data is not None and _is_record(path, data):
            return data
    return None


def _free(repo: Repo, workspace: Path, oid: str) -> None:
    """Set a damaged object's file aside, so that the same content can be written there again."""
    path = Path(repo.git_dir) / "objects" / oid[:2] / oid[2:]
    if path.is_file() and _blob(repo, oid) is None:
        set_aside(workspace, path)
