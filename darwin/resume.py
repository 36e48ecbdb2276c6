"""Resumption: what a killed run left half done is finished or undone at the next start, and said in one line."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from darwin.answers import FOLDER as ANSWERS
from darwin.events import Events
from darwin.sandbox.owner import start_of
from darwin.workspace import Workspace

TEMPORARY = re.compile(r"\..+?\.(\d+)(\.[0-9a-f]{8})?|tmp_obj_(\d+)")
"""Names that files of ours have until they are complete: records, answers, git objects; with the writer's number."""


def resume(workspace: Workspace, events: Events) -> str | None:
    """Mend what the last run left half done; the line that says so, None where there is nothing to say.

    Call with the workspace locked, before anything is written.
    """
    memory = workspace.memory
    died = events.unfinished()
    done = workspace.lineage.repair(memory)
    removed = sum(map(_removed, _temporaries(workspace.folder)))
    if removed:
        done.append(f"Removed {removed} half-written file(s).")
    written = memory.project()
    if written:
        done.append(f"Wrote {written} file(s) of memory/ anew.")
    done += memory.set_aside()
    if memory.begun and memory.run.target is not None:
        run = memory.run
        born = sum(1 for i in memory.individuals.values() if i.ordinal > run.settled)
        where = f"in generation {run.generation + 1} of {run.target}"
        if run.generation >= (run.target or 0):
            where = f"at the end: all {run.target} generations are complete"
        more = f", {born} more are born" if born else ""
        done.append(f"Going on {where}; {run.settled} scripts are settled{more}.")
    if died is None:
        return " ".join(done) or None
    return " ".join([f"The last run was killed in its step {died}.", *done])


def sweep_unfinished(folder: Path) -> None:
    """Remove what a process that is gone had begun to make beside ``folder``, to give it that name when complete."""
    for path in folder.parent.glob(f".{folder.name}.*.new*"):
        number = path.name.removeprefix(f".{folder.name}.").partition(".")[0]
        if number.isdigit() and start_of(int(number)) is None:
            shutil.rmtree(path, ignore_errors=True)


def _temporaries(folder: Path) -> list[Path]:
    """Files that no living process is still writing."""
    objects = [p for p in (folder / ".git" / "objects").glob("??/tmp_obj_*") if p.is_file()]
    written = [p for where in ("memory", ANSWERS) for p in (folder / where).rglob(".*") if p.is_file()]
    found = []
    for path in (*objects, *written, *folder.glob(".darwin.toml.*")):
        match = TEMPORARY.fullmatch(path.name)
        number = int(match[1] or match[3]) if match else os.getpid()
        if match and (number == os.getpid() or start_of(number) is None):
            found.append(path)
    return found


def _removed(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True
