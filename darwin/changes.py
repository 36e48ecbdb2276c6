"""Changes: what a merge would do to ``main``, read from the trees themselves, so that nothing can hide in it.

The lines shown are parsed from git's plumbing with everything off that attributes or settings could turn on, and are
put to the proof: applied to the files before, they must give the files after, byte by byte. What cannot be shown so,
and what no change of a training script may touch, is an objection: it does not merge.
"""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import PurePosixPath

from git import Repo

PLAIN_MODE = "100644"
LONGEST_LINE = 200
"""Characters; a longer line of code is pointed out."""
DIFF = (
    *("-p", "-r", "--text", "--no-color", "--no-renames", "--no-ext-diff", "--no-textconv", "--full-index"),
    *("--unified=3", "--diff-algorithm=histogram", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/"),
)
HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
REACHING = frozenset({"exec", "eval", "compile", "__import__", "open", "globals", "setattr", "breakpoint"})
KINDS = {"Cc": "control", "Cf": "invisible or direction", "Zl": "line-breaking", "Zp": "line-breaking"}


@dataclass(frozen=True)
class Line:
    """A line of a diff: ``sign`` is "+", "-" or " ";
    ``old`` and ``new`` count, from 1, where it stands before and after
    (for an added line ``old`` is the line it comes before); ``ends``: whether a newline ends it."""

    sign: str
    old: int
    new: int
    data: bytes
    ends: bool = True

    @property
    def text(self) -> str:
        """As text; bytes that are none stay visible."""
        return self.data.decode(errors="backslashreplace")

    @property
    def number(self) -> int:
        """Where it stands in the file it is from."""
        return self.old if self.sign == "-" else self.new


@dataclass(frozen=True)
class FileChange:
    """What happens to one file; ``hunks`` are runs of neighbouring lines."""

    path: str
    hunks: tuple[tuple[Line, ...], ...]
    fate: str = "changed"

    def count(self, sign: str) -> int:
        """Lines with that sign."""
        return sum(line.sign == sign for hunk in self.hunks for line in hunk)


@dataclass(frozen=True)
class Change:
    """All that differs between two genomes. With ``objections`` it must not merge; ``cautions`` are pointed out."""

    files: tuple[FileChange, ...]
    objections: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def added(self) -> int:
        """Lines added in all files."""
        return sum(file.count("+") for file in self.files)

    @property
    def removed(self) -> int:
        """Lines removed in all files."""
        return sum(file.count("-") for file in self.files)


def read(repo: Repo, before: str, after: str, evolvable: Iterable[str]) -> Change:
    """The change from one commit to another, where only the ``evolvable`` files may change."""
    old, new = _entries(repo, before), _entries(repo, after)
    allowed = set(evolvable)
    files: list[FileChange] = []
    objections: list[str] = []
    cautions: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) == new.get(path):
            continue
        objections += _about_path(path, new.get(path), allowed)
        contents = [_blob(repo, entries.get(path)) for entries in (old, new)]
        fate = "changed" if path in old and path in new else "new" if path in new else "deleted"
        hunks = _hunks(_diff(repo, before, after, path))
        files.append(FileChange(path, hunks, fate))
        if _applied(contents[0], hunks) != contents[1]:
            objections.append(f"{shown_path(path)}: its lines cannot be shown exactly.")
        cautions += _about_lines(files[-1])
        cautions += _about_code(path, *contents)
    return Change(tuple(files), tuple(objections), tuple(cautions))


def visible(text: str) -> str:
    """A line with every character shown for what it is: tabs as arrows, what could deceive by its number.

    Plain ASCII, Latin letters with accents and common punctuation stay as they are.
    """
    shown = "".join("→   " if c == "\t" else c if _plain(c) else f"<U+{ord(c):04X}>" for c in text)
    kept = shown.rstrip(" ")
    return kept + "·" * (len(shown) - len(kept))


def shown_path(path: str) -> str:
    """A file's name with every character shown for what it is."""
    return "".join(c if c.isascii() and c.isprintable() else f"<U+{ord(c):04X}>" for c in path)


def _plain(c: str) -> bool:
    if c.isascii():
        return c.isprintable()
    if c in "–—‘’“”…":
        return True
    return "À" <= c <= "ÿ" and unicodedata.normalize("NFKC", c) == c


def _entries(repo: Repo, commit: str) -> dict[str, tuple[str, str]]:
    """Path -> (mode, object) of everything in a commit's tree."""
    out = repo.git.ls_tree("-r", "-z", "--full-tree", commit, stdout_as_string=False)
    rows = [row.partition(b"\t") for row in out.split(b"\0") if row]
    return {
        path.decode(errors="surrogateescape"): (meta.split()[0].decode(), meta.split()[2].decode())
        for meta, _, path in rows
    }


def _blob(repo: Repo, entry: tuple[str, str] | None) -> bytes:
    if entry is None or entry[0] == "160000":
        return b""
    return bytes(repo.odb.stream(bytes.fromhex(entry[1])).read())


def _diff(repo: Repo, before: str, after: str, path: str) -> bytes:
    """One file's diff as bytes; neither attributes nor a person's settings change it."""
    git = repo.git(no_replace_objects=True, literal_pathspecs=True)
    plain = {"GIT_DIFF_OPTS": "", "GIT_EXTERNAL_DIFF": ""}
    raw = {"stdout_as_string": False, "strip_newline_in_stdout": False}
    return bytes(git.diff_tree(*DIFF, before, after, "--", path, env=plain, **raw))


def _hunks(diff: bytes) -> tuple[tuple[Line, ...], ...]:
    """The hunks of one file's diff, read by their counts and never by what their lines look like."""
    hunks, rows = [], diff.split(b"\n")
    index = 0
    while index < len(rows):
        found = HUNK.match(rows[index])
        index += 1
        if not found:
            continue
        left = {"-": int(found[2] or 1), "+": int(found[4] or 1)}
        at = {"-": int(found[1]) + (not left["-"]), "+": int(found[3]) + (not left["+"])}
        lines: list[Line] = []
        while index < len(rows) and (left["-"] or left["+"] or rows[index].startswith(b"\\")):
            row = rows[index]
            index += 1
            if row.startswith(b"\\"):
                lines[-1] = replace(lines[-1], ends=False)
                continue
            sign = chr(row[0]) if row else " "
            lines.append(Line(sign, at["-"], at["+"], row[1:]))
            for side in "-+" if sign == " " else sign:
                at[side] += 1
                left[side] -= 1
        hunks.append(tuple(lines))
    return tuple(hunks)


def _applied(before: bytes, hunks: tuple[tuple[Line, ...], ...]) -> bytes | None:
    """The file after the hunks; None where they do not fit it."""
    parts = before.split(b"\n")
    old = [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
    result: list[bytes] = []
    at = 0
    for line in (line for hunk in hunks for line in hunk):
        data = line.data + b"\n" * line.ends
        result += old[at : line.old - 1]
        at = max(at, line.old - 1)
        if line.sign != "+":
            if old[at : at + 1] != [data]:
                return None
            at += 1
        if line.sign != "-":
            result.append(data)
    return b"".join(result + old[at:])


def _about_path(path: str, entry: tuple[str, str] | None, allowed: set[str]) -> Iterator[str]:
    """Why a change of this path must not merge."""
    name, last = shown_path(path), PurePosixPath(path).name
    if entry is not None and entry[0] != PLAIN_MODE:
        kinds = {"120000": "a link", "100755": "an executable file", "160000": "another repository"}
        yield f"{name} becomes {kinds.get(entry[0], f'an entry of mode {entry[0]}')}, not a plain file."
    if path in allowed:
        return
    if any(part.startswith(".") for part in PurePosixPath(path).parts):
        yield f"{name} is a dot-file, which no listing shows: scripts have no business with it."
    elif name != path:
        yield f"{name} has characters in its name that look like others or cannot be seen."
    elif last == "genome.toml":
        yield "genome.toml is the contract itself: what may be rewritten, and how it is judged."
    else:
        yield f"{name} is not among the files that may be rewritten ({', '.join(sorted(allowed))})."


def _about_lines(file: FileChange) -> Iterator[str]:
    """What in the added lines could deceive an eye: unusual characters by kind, and lines that run far to the right."""
    name = shown_path(file.path)
    added = [line for hunk in file.hunks for line in hunk if line.sign == "+"]
    odd = [
        (c, line.number) for line in added for c in dict.fromkeys(line.text) if c != "\t" and not _plain(c)
    ]
    for char, group in groupby(sorted(odd), key=lambda pair: pair[0]):
        numbers = [number for _, number in group]
        kind = KINDS.get(unicodedata.category(char), "look-alike or unusual")
        where = ", ".join(map(str, numbers[:3])) + ("..." if len(numbers) > 3 else "")
        called = unicodedata.name(char, "no name").lower()
        yield f"{name}, line {where}: {kind} character <U+{ord(char):04X}> ({called})"
    for line in added:
        if len(line.text) > LONGEST_LINE or "          " * 6 in line.text.strip():
            yield f"{name}, line {line.number}: {len(line.text)} characters, some of them far to the right"


def _about_code(path: str, before: bytes, after: bytes) -> Iterator[str]:
    """What the code can newly reach: imports, and calls that run text, open files or rewrite others' names."""
    if not path.endswith(".py"):
        return
    old, new = _reach(before), _reach(after)
    if new is None:
        yield f"{shown_path(path)} is not Python that can be read"
    elif fresh := sorted(new - (old or set())):
        yield f"{shown_path(path)} newly uses {visible(', '.join(fresh))}"


def _reach(source: bytes) -> set[str] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of odd escapes in a script: nothing of the person's who looks at it
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {f"import {name.name}" for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(f"import {'.' * node.level}{node.module or ''}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REACHING:
            found.add(f"{node.func.id}()")
    return found
