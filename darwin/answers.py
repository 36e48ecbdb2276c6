"""Answers: what people decided, on its way to whoever holds the workspace.

A person answers from any terminal while a run goes on; only the holder of the workspace's lock may move ``main``. So an
answer is a file that appears whole or not at all, one a contender: the first counts, a second is told so. It is taken
away only after the transaction that carries it out, and a transaction says whose answer it was: whatever dies in
between, an answer is carried out once.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pydantic import Field, ValidationError

from darwin.errors import UsageError
from darwin.memory.records import Choice, Record

FOLDER = Path(".git") / "darwin-answers"
UNREADABLE = ".unreadable"
"""How the name of a file ends that was no answer and was put aside."""


class Answer(Record):
    """What a reviewer says about a contender, who that is, and what was seen: exactly that may merge, nothing else."""

    choice: Choice
    by: str
    reason: str = ""
    tree: str | None = None
    main: str | None = None
    shown: str = ""
    lines_seen: int | None = None
    lines: int | None = None
    despite: bool = False
    files: dict[str, str] = Field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names the answer in the decision that carries it out."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def post(workspace: Path, contender: str, answer: Answer) -> None:
    """Leave an answer for the holder of the workspace.

    Raises:
        UsageError: there is an answer on this contender already.
    """
    folder = workspace / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"{contender}.json"
    temporary = folder / f".{contender}.{os.getpid()}.{os.urandom(4).hex()}"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(answer.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise UsageError(
            f"{contender} was answered a moment ago from another terminal ({_words(path)}); the first answer counts."
        ) from None
    finally:
        temporary.unlink()


def answered(workspace: Path) -> set[str]:
    """The contenders on which an answer waits to be carried out: nobody is asked about them again."""
    return {path.stem for path in _files(workspace)}


def posted(workspace: Path) -> tuple[dict[str, Answer], list[str]]:
    """The answers that wait to be carried out, by contender, oldest first; and a sentence for each that is none.

    Such a file is put aside, so that it is complained of once.
    """
    found, torn = {}, []
    for path in sorted(_files(workspace), key=lambda p: (p.stat().st_mtime_ns, p.name)):
        try:
            found[path.stem] = Answer.model_validate_json(path.read_bytes())
        except ValidationError:
            aside = path.with_suffix(UNREADABLE)
            path.replace(aside)
            torn.append(f"{aside} is no answer that can be read. Decide on {path.stem} again: darwin review")
    return found, torn


def discard(workspace: Path, contender: str) -> None:
    """Take an answer away that was carried out."""
    (workspace / FOLDER / f"{contender}.json").unlink(missing_ok=True)


def anything(workspace: Path) -> bool:
    """Whether anything that people said waits for the holder of the workspace: answers, rulings on requests, advice."""
    files = (path for path in (workspace / FOLDER).rglob("[!.]*") if path.is_file())
    return any(path.suffix != UNREADABLE for path in files)


def _files(workspace: Path) -> list[Path]:
    return [path for path in (workspace / FOLDER).glob("*.json") if not path.name.startswith(".")]


def _words(path: Path) -> str:
    try:
        answer = Answer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return "it is being carried out"
    return f"{answer.choice} by {answer.by.partition(' <')[0]}"
