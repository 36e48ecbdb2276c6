"""Edits as models really write them: taken for what they plainly mean, or refused with the reason.

``edits.py`` is the exact form; this reads what drifts from it. Every function is pure and all or nothing.

Tolerated in blocks: code fences around or inside them, marks with a few signs more or less, indented marks, a file's
name in several dresses, CRLF, blank lines around the text, trailing blanks, no-break spaces, tabs for spaces, one
indentation for another throughout, a missing last newline. Refused: a text that stands in no or several places, an
elision ("... rest unchanged"), a block without an end, an unknown file, a patch in another format.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from darwin.agents.errors import EditError

OPEN = re.compile(r"\s*<{5,9}\s*(SEARCH|ORIGINAL|OLD)\b.*", re.IGNORECASE)
MIDDLE = re.compile(r"\s*={5,9}\s*")
CLOSE = re.compile(r"\s*>{5,9}\s*(REPLACE|UPDATED|NEW)\b.*", re.IGNORECASE)
FENCE = re.compile(r"\s*(```+|~~~+)\s*([\w+.-]*)\s*(\S*)\s*")
NAME = re.compile(
    r"\s*(?:[#>*-]+\s+)?(?:\*\*|__)?(?:file(?:name)?|path)?\s*:?\s*[`'\"*]*((?:[\w.-]+/)*[\w-][\w.-]*\.\w{1,5})[`'\"*]*\s*:?(?:\*\*|__)?\s*:?",
    re.IGNORECASE,
)
ELISION = re.compile(
    r"\s*(#|//)?\s*[\[(<]?\s*(\.\.\.|…).*(rest|remain|unchanged|existing|same|omitted|before|as is|code).*"
    r"|\s*(#|//)\s*[\[(<]?\s*(the )?(rest|remaining|existing)\b"
    r".*(\.\.\.|…|\bunchanged|\bas before|\bthe same|\bhere\b).*"
    r"|\s*(#|//)\s*(\.\.\.|…)\s*",
    re.IGNORECASE,
)
PATCH = re.compile(r"^(@@ .* @@|\*\*\* (Begin Patch|Update File)|diff --git )", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block as it was written: ``file`` None where it stood under no name; lines without their ends."""

    number: int
    file: str | None
    search: tuple[str, ...]
    replace: tuple[str, ...]


def rewrite_blocks(answer: str, files: Mapping[str, str]) -> dict[str, str]:
    """``files`` after the SEARCH/REPLACE blocks of an answer, each on the result of those before it.

    Raises EditError, for the model to read, when any block cannot be read or does not plainly fit one place.
    """
    blocks = _blocks(answer)
    if not blocks:
        hint = " It looks like a patch in another format." if PATCH.search(answer) else ""
        raise EditError(f"There is no SEARCH/REPLACE block in the answer.{hint}", 1, None)
    result = dict(files)
    for block in blocks:
        file = _file_of(block, result)
        result[file] = _applied(block, file, result[file])
    return result


def rewrite_files(answer: str, files: Mapping[str, str]) -> dict[str, str]:
    """``files`` with those that an answer holds whole, each under its name in a fence.

    Raises EditError for a fence without an end, an unknown file, a file given twice, or one with an elision.
    """
    found: dict[str, str] = {}
    name: str | None = None
    lines = _lines(answer)
    at = 0
    while at < len(lines):
        fence = FENCE.fullmatch(lines[at])
        if fence is None:
            name = _named(lines[at]) or name
            at += 1
            continue
        given = next((_named(word) for word in (fence[2], fence[3]) if word and _named(word)), None) or name
        end = _closing(lines, at, fence[1])
        number = len(found) + 1
        if end is None:
            raise EditError(f"The fence of file {number} ({given or 'no name'}) has no end.", number, given)
        content = lines[at + 1 : end]
        at = end + 1
        name = None
        if given is None:
            if len(files) > 1 or found:
                raise EditError(
                    f"Fence {number} stands under no file name. Write ### model.py above it.", number, None
                )
            given = next(iter(files))
        file = _known(given, files, number)
        if file in found:
            raise EditError(f"{file} is given twice.", number, file)
        original = set(_lines(files[file]))
        for line in content:
            if ELISION.fullmatch(line) and line not in original:
                raise EditError(
                    f'{file} leaves something out ("{line.strip()[:60]}"). Write it whole.', number, file
                )
        if not "".join(content).strip():
            raise EditError(f"{file} is empty.", number, file)
        found[file] = _joined(content, files[file])
    if not found:
        raise EditError("There is no whole file in a fence in the answer.", 1, None)
    return {**files, **found}


def only_code(answer: str) -> str:
    """The one fenced block of an answer, or all of it where it has no fence. Raises EditError for several."""
    lines = _lines(answer)
    fences = [(i, f) for i, line in enumerate(lines) if (f := FENCE.fullmatch(line))]
    if not fences:
        return answer.strip("\n") + "\n"
    first, fence = fences[0]
    end = _closing(lines, first, fence[1])
    if end is None:
        raise EditError("The fence has no end.", 1, None)
    if any(FENCE.fullmatch(line) for line in lines[end + 1 :]):
        raise EditError("There is more than one fenced block; expected the one definition.", 1, None)
    content = lines[first + 1 : end]
    for line in content:
        if ELISION.fullmatch(line):
            raise EditError(f'It leaves something out ("{line.strip()[:60]}"). Write it whole.', 1, None)
    return "".join(line + "\n" for line in content)


def _blocks(answer: str) -> list[Block]:
    blocks: list[Block] = []
    file: str | None = None
    search: list[str] | None = None
    replace: list[str] | None = None
    for line in _lines(answer):
        number = len(blocks) + 1
        where = f"{file or 'No file'}, block {number}"
        if search is None:
            if OPEN.fullmatch(line):
                search = []
            elif MIDDLE.fullmatch(line) or CLOSE.fullmatch(line):
                if CLOSE.fullmatch(line):
                    raise EditError(f'{where}: "{line.strip()[:30]}" is out of place.', number, file)
            else:
                fence = FENCE.fullmatch(line)
                words = (fence[2], fence[3]) if fence else (line,)
                file = next((name for word in words if word and (name := _named(word))), file)
        elif OPEN.fullmatch(line):
            raise EditError(f'{where}: "{line.strip()[:30]}" is out of place.', number, file)
        elif replace is None:
            if CLOSE.fullmatch(line):
                raise EditError(f'{where} has no "=======" between the two texts.', number, file)
            if MIDDLE.fullmatch(line):
                replace = []
            else:
                search.append(line)
        elif CLOSE.fullmatch(line):
            blocks.append(Block(number, file, _inner(search), _inner(replace)))
            search = replace = None
        elif MIDDLE.fullmatch(line):
            raise EditError(f'{where}: a second "=======".', number, file)
        else:
            replace.append(line)
    if search is not None:
        raise EditError(
            f'Block {len(blocks) + 1} does not end with ">>>>>>> REPLACE".', len(blocks) + 1, file
        )
    return blocks


def _inner(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines of one part, out of a fence that was put around them."""
    bare = _trimmed(lines)
    if len(bare) >= 2 and FENCE.fullmatch(bare[0]) and FENCE.fullmatch(bare[-1]):
        return tuple(bare[1:-1])
    return tuple(lines)


def _file_of(block: Block, files: Mapping[str, str]) -> str:
    """The file a block means: the one it names, else the only one its text stands in."""
    if block.file is not None:
        return _known(block.file, files, block.number)
    if len(files) == 1:
        return next(iter(files))
    holding = [name for name, text in files.items() if _places(_trimmed(block.search), _lines(text))[0]]
    if len(holding) != 1:
        raise EditError(
            f"Block {block.number} stands under no file name. Write ### model.py above it.",
            block.number,
            None,
        )
    return holding[0]


def _known(name: str, files: Mapping[str, str], number: int) -> str:
    """The file of that name, or the only one whose last part it is."""
    plain = name.removeprefix("./")
    if plain in files:
        return plain
    last = [file for file in files if PurePosixPath(file).name == PurePosixPath(plain).name]
    if len(last) != 1:
        known = ", ".join(sorted(files))
        raise EditError(f"Block {number}: there is no file {name}, only {known}.", number, name)
    return last[0]


def _applied(block: Block, file: str, text: str) -> str:
    where = f"{file}, block {block.number}"
    lines = _lines(text)
    search = list(block.search)
    if not "".join(search).strip():
        raise EditError(f"{where}: the text to replace is empty.", block.number, file)
    places, shift = _places(search, lines)
    cut = False
    if not places:
        search, cut = _trimmed(search), True
        places, shift = _places(search, lines)
    if len(places) != 1:
        raise EditError(
            f"{where}: {_why(search, lines, len(places))} Nothing was changed.", block.number, file
        )
    replace = _trimmed(block.replace) if cut else list(block.replace)
    for line in replace:
        if ELISION.fullmatch(line) and line.strip() not in {s.strip() for s in search}:
            raise EditError(f'{where}: leaves something out ("{line.strip()[:60]}").', block.number, file)
    end = places[0] + len(search)
    moved = _dressed(_shifted(replace, shift), search, lines[places[0] : end])
    changed = [*lines[: places[0]], *moved, *lines[end:]]
    return _joined(changed, text)


def _why(search: Sequence[str], lines: Sequence[str], places: int) -> str:
    """Why a text cannot be replaced; with the nearest lines of the file where it does not stand in it."""
    if places:
        return f"the text to replace occurs {places} times, expected once; give more lines around it."
    if any(line.strip() in ("...", "…") or ELISION.fullmatch(line) for line in search):
        return "the text to replace leaves something out; copy every line as it stands."
    anchor = max(search, key=lambda line: len(line.strip()))
    near = difflib.get_close_matches(anchor.strip(), [line.strip() for line in lines if line.strip()], 1, 0.6)
    return "the text to replace does not occur." + (f' The nearest line is "{near[0][:80]}".' if near else "")


def _places(search: Sequence[str], lines: Sequence[str]) -> tuple[list[int], tuple[str, str] | None]:
    """(where the lines stand, (their indentation as written, as it is)), by the strictest reading that finds any."""
    if not search:
        return [], None
    for reading in (_exact, _even):
        wanted = [reading(line) for line in search]
        have = [reading(line) for line in lines]
        found = [i for i in range(len(have) - len(wanted) + 1) if have[i : i + len(wanted)] == wanted]
        if found:
            return found, None
    margin = _margin(search)
    wanted = [_even(line)[len(margin) :] for line in search]
    found, shifts = [], []
    for i in range(len(lines) - len(wanted) + 1):
        window = lines[i : i + len(wanted)]
        its = _margin(window)
        if [_even(line)[len(its) :] for line in window] == wanted:
            found.append(i)
            shifts.append((margin, its))
    return found, shifts[0] if shifts else None


def _exact(line: str) -> str:
    return line


def _even(line: str) -> str:
    """A line without what no reader sees: trailing blanks, tabs, no-break and zero-width spaces."""
    plain = line.replace("\u00a0", " ").replace("\u200b", "").replace("\ufeff", "")
    return plain.expandtabs(4).rstrip()


def _margin(lines: Sequence[str]) -> str:
    """The indentation that all lines but blank ones have in common, tabs as four spaces."""
    indents = [len(e) - len(e.lstrip(" ")) for e in map(_even, lines) if e]
    return " " * min(indents, default=0)


def _shifted(lines: Sequence[str], shift: tuple[str, str] | None) -> list[str]:
    """The lines moved from one indentation to another; none where the text stood as it was written."""
    if shift is None:
        return list(lines)
    written, actual = shift
    moved = []
    for line in lines:
        even = _even(line)
        if not even:
            moved.append("")
        elif len(actual) >= len(written):
            moved.append(actual[len(written) :] + even)
        else:
            drop = len(written) - len(actual)
            moved.append(even[min(drop, len(even) - len(even.lstrip(" "))) :])
    return moved


def _dressed(replace: Sequence[str], search: Sequence[str], window: Sequence[str]) -> list[str]:
    """The new lines indented by tabs where the old ones are, by spaces where those are."""
    tabs_there, tabs_written = (any(line.startswith("\t") for line in lines) for lines in (window, search))
    if tabs_written and not tabs_there:
        return [line.expandtabs(4) for line in replace]
    if not tabs_there or tabs_written:
        return list(replace)
    dressed = []
    for line in replace:
        bare = line.lstrip(" ")
        tabs, spaces = divmod(len(line) - len(bare), 4)
        dressed.append("\t" * tabs + " " * spaces + bare)
    return dressed


def _trimmed(lines: Sequence[str]) -> list[str]:
    """Without blank lines at both ends."""
    kept = [i for i, line in enumerate(lines) if line.strip()]
    return list(lines[kept[0] : kept[-1] + 1]) if kept else []


def _lines(text: str) -> list[str]:
    """Lines without their ends, whatever the ends are; the empty one after a last newline is left out."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _joined(lines: Sequence[str], like: str) -> str:
    """Lines as a text whose ends are those of ``like``; a last newline is always there."""
    end = "\r\n" if "\r\n" in like else "\n"
    return "".join(line + end for line in lines)


def _named(line: str) -> str | None:
    found = NAME.fullmatch(line)
    return found[1] if found else None


def _closing(lines: Sequence[str], opening: int, fence: str) -> int | None:
    """The line of the fence's end: the last bare one before another file begins, as a file may hold fences itself."""
    end = None
    for i in range(opening + 1, len(lines)):
        other = FENCE.fullmatch(lines[i])
        if other and other[1] == fence and not other[2] and not other[3]:
            end = i
        elif end is not None and (_named(lines[i]) or (other and (other[2] or other[3]))):
            break
    return end
