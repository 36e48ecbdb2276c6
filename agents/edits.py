"""SEARCH/REPLACE blocks: read them, apply them, all or nothing (the form is aider's).

A heading names the file and holds until the next one; the text to replace is given by whole lines:

    ### model.py
    <<<<<<< SEARCH
        return F.gelu(x)
    =======
        return F.relu(x).square()
    >>>>>>> REPLACE
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from darwin.agents.errors import EditError

OPEN, MIDDLE, CLOSE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
HEADING = re.compile(r"(?:#+ +)?`?([\w][\w./-]*\.\w+)`?:?")


@dataclass(frozen=True)
class Edit:
    """Replace the one place in ``file`` where the lines of ``search`` stand by ``replace``.

    Both texts end with a newline; ``replace`` may be empty, which deletes.
    """

    file: str
    search: str
    replace: str


def parse(text: str) -> list[Edit]:
    """The blocks of a text in order; prose and code fences around them are passed over.

    Raises EditError for a block without a file, without an end, without a text to search, or inside another.
    """
    edits: list[Edit] = []
    file: str | None = None
    part: list[str] | None = None  # the part being read; None outside of a block
    search: list[str] = []
    for raw in text.split("\n"):
        line = raw.rstrip("\r")
        mark = line.rstrip()
        number = len(edits) + 1
        if part is None:
            if mark == OPEN:
                if file is None:
                    raise EditError(
                        f"Block {number} stands under no file name. Write ### model.py above it.",
                        number,
                        None,
                    )
                search = part = []
            elif mark in (MIDDLE, CLOSE):
                raise EditError(f'Block {number} has "{mark}" before "{OPEN}".', number, file)
            elif heading := HEADING.fullmatch(mark):
                file = heading[1]
        elif mark == MIDDLE and part is search:
            part = []
        elif mark == CLOSE and part is not search:
            if not "".join(search).strip():
                raise EditError(f"{file}, block {number}: the text to replace is empty.", number, file)
            edits.append(Edit(str(file), _text(search), _text(part)))
            part = None
        elif mark in (OPEN, MIDDLE, CLOSE):
            raise EditError(f'{file}, block {number}: "{mark}" is out of place.', number, file)
        else:
            part.append(line)
    if part is not None:
        raise EditError(f'{file}, block {len(edits) + 1} does not end with "{CLOSE}".', len(edits) + 1, file)
    return edits


def apply(edits: Sequence[Edit], files: Mapping[str, str]) -> dict[str, str]:
    """``files`` after all edits, each on the result of those before it.

    A text that does not occur in its file, and in one other once, was moved there by a layout: it is replaced there.
    Raises EditError, naming block and file, unless each text to replace occurs exactly once; ``files``
    itself is never changed.
    """
    result = dict(files)
    for number, edit in enumerate((_followed(edit, result) for edit in edits), start=1):
        where = f"{edit.file}, block {number}"
        if edit.file not in result:
            known = ", ".join(sorted(result))
            raise EditError(
                f"{where}: there is no such file, only {known}. Nothing was changed.", number, edit.file
            )
        text = result[edit.file]
        if text and not text.endswith("\n"):
            text += "\n"
        places = _places(edit.search, text)
        if len(places) != 1:
            times = "does not occur" if not places else f"occurs {len(places)} times, expected once"
            raise EditError(f"{where}: the text to replace {times}. Nothing was changed.", number, edit.file)
        start = places[0]
        result[edit.file] = text[:start] + edit.replace + text[start + len(edit.search) :]
    return result


def _followed(edit: Edit, files: Mapping[str, str]) -> Edit:
    """The edit, of the file that its text was moved to."""
    if edit.file not in files or edit.search in files[edit.file]:
        return edit
    found = [name for name, text in files.items() if edit.search in text]
    return Edit(found[0], edit.search, edit.replace) if len(found) == 1 else edit


def inverse(edits: Sequence[Edit]) -> list[Edit]:
    """The edits that undo these, on a text that they were applied to and that still has what they put there."""
    return [Edit(edit.file, edit.replace, edit.search) for edit in reversed(edits)]


def _places(search: str, text: str) -> list[int]:
    """Where ``search`` stands in ``text`` at the start of a line; overlapping places count."""
    places, start = [], text.find(search)
    while start >= 0:
        if start == 0 or text[start - 1] == "\n":
            places.append(start)
        start = text.find(search, start + 1)
    return places


def _text(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
