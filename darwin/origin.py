"""Where an adopted script came from: a folder, and its commit in a git repository. Nothing is changed there."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from git import Git
from git.exc import GitCommandError

ADAPTER = "darwin_trial.py"
"""The file that ``darwin init --from`` drafts beside a script; ``ORIGIN`` in it says where that came from."""
_QUIET = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false"]


@dataclass(frozen=True)
class Origin:
    """``folder`` as it was given, absolute; ``commit`` of its repository, empty where there is none or where files were
    not as committed; ``inside`` is the folder's path in the repository, with a slash at its end, or empty."""

    folder: str
    commit: str = ""
    inside: str = ""

    def facts(self) -> dict[str, str]:
        """What is written down of it."""
        return {key: value for key, value in asdict(self).items() if value}


def visible(folder: Path) -> set[str] | None:
    """The files of a repository's folder that git does not ignore, relative; None where it is no repository."""
    listed = _ask(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return None if listed is None else {path for path in listed.split("\0") if path}


def origin_of(folder: Path, files: Mapping[str, bytes]) -> tuple[Origin, list[str]]:
    """Where ``files`` of a folder (relative path -> content) come from; those that are not as committed."""
    place = str(folder.resolve())
    commit = (_ask(folder, "rev-parse", "--verify", "--quiet", "HEAD") or "").strip()
    if not commit:
        return Origin(place), []
    inside = (_ask(folder, "rev-parse", "--show-prefix") or "").strip()
    listed = _ask(folder, "ls-tree", "-r", "-z", "HEAD") or ""
    rows = [row.partition("\t") for row in listed.split("\0") if row]
    committed = {path: words.split()[2] for words, _, path in rows}
    changed = [path for path, data in files.items() if committed.get(path) != _blob(data, commit)]
    return Origin(place, "" if changed else commit, inside), changed


def origin_in(genome: Mapping[str, bytes]) -> Origin | None:
    """Where an adopted genome came from; None for one that was not adopted."""
    if ADAPTER not in genome:
        return None
    for statement in ast.parse(genome[ADAPTER]).body:
        if isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", "") == "ORIGIN":
            assert statement.value is not None
            return Origin(**ast.literal_eval(statement.value))
    return None


def _ask(folder: Path, *words: str) -> str | None:
    """What git answers in a folder; None where it is no repository, or not one that this user may ask."""
    try:
        return str(Git(folder).execute([*_QUIET, *words], strip_newline_in_stdout=False))
    except GitCommandError:
        return None


def _blob(data: bytes, commit: str) -> str:
    """The id that git gives to a file's content; no filter of the repository is run for it."""
    method = hashlib.sha256 if len(commit) == 64 else hashlib.sha1
    return method(b"blob %d\0" % len(data) + data).hexdigest()
