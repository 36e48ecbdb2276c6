"""The desk: where a person at a terminal reads a case and decides, key by key.

Nothing is decided by what was typed before the page stood there, by Ctrl-C, by a closed terminal or by Enter alone: all
of them leave the decision open.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from darwin.answers import Answer
from darwin.errors import UsageError
from darwin.gate import Case
from darwin.genome import evolvable
from darwin.keys import CLOSED, ENTER, ESCAPE, INTERRUPT, Keys
from darwin.memory.records import Choice
from darwin.page import diff_lines, page
from darwin.screen import counted, safe

PROMPT = (
    "[a] approve: merges it into main  [Enter, d] decide later; nothing is blocked",
    "[r] reject; you are asked why     [f, space] read the whole diff ({lines} lines)",
    "[e] edit: it is re-trained first  [q] leave all questions undecided",
)
MORE = "[space] on [b]ack [q] to the question"
LEAVE = (ESCAPE, INTERRUPT, CLOSED)
RECORDED_WIDTH = 80
LONGEST_REASON = 500


Rule = Callable[["Desk"], tuple[str, int]]
"""Lets a person answer requests: what to tell them then, and how many still wait."""


@dataclass
class Seen:
    """How far a person has looked: the first line of the diff not yet on the screen."""

    lines: int = 0


class Desk:
    """Shows cases on a terminal and asks."""

    def __init__(self, console: Console, keys: Keys, person: str, rule: Rule) -> None:
        """``rule`` is what the key w does: it lets the person answer what agents ask for."""
        self._console = console
        self._keys = keys
        self._person = person
        self._rule = rule

    def review(self, case: Case, files: Mapping[str, bytes]) -> Answer | None:
        """What the person says; None where the question was left without a word (quit, Ctrl-C, a closed terminal).

        Args:
            files: the contender's genome, for the editor.
        """
        seen, note = Seen(), ""
        with self._keys.listening():
            while True:
                key = self._ask(case, seen, note)
                note = ""
                if key in ("q", *LEAVE):
                    return None
                if key in ("d", ENTER):
                    return self._answer(case, seen, Choice.DEFER)
                if key in ("f", " "):
                    self._page_through(case, seen)
                    continue
                if key == "w":
                    note, left = self._rule(self)
                    case = replace(case, requests=left)
                    continue
                answer = self._decided(case, seen, key, files)
                if isinstance(answer, Answer):
                    return answer
                note = answer

    def _decided(self, case: Case, seen: Seen, key: str, files: Mapping[str, bytes]) -> Answer | str:
        """The answer that a key leads to, or what to say above the question."""
        if key == "a":
            return self._approve(case, seen)
        if key == "r":
            reason = self.line("Why not? The agents are told (Esc: back): ")
            return (
                "Nothing was decided." if reason is None else self._answer(case, seen, Choice.REJECT, reason)
            )
        if key == "e":
            return self._edit(case, seen, files)
        return "That key does nothing here."

    def _approve(self, case: Case, seen: Seen) -> Answer | str:
        if case.change.objections:
            return "It cannot be merged, for the reason above."
        reason = self.line(
            f"You saw {_share(seen, self._diff(case))}. Why merge it? Enter merges, Esc goes back: "
        )
        if reason is None:
            return "Nothing was decided."
        despite = False
        for doubt in case.doubts[:1]:
            if self.line(f"Careful: {doubt}. Write yes to merge it all the same: ") != "yes":
                return "Nothing was decided."
            despite = True
        return self._answer(case, seen, Choice.MERGE, reason, despite=despite)

    def _edit(self, case: Case, seen: Seen, files: Mapping[str, bytes]) -> Answer | str:
        try:
            with self._keys.lent():
                edited = edit(evolvable(files), [f.path for f in case.change.files])
        except UsageError as error:
            return str(error)
        if not edited:
            return "You changed nothing."
        reason = self.line("What did you change, and why? (Esc: drop the edit): ")
        if reason is None:
            return "Your edit was dropped."
        return self._answer(case, seen, Choice.EDIT, reason, files=edited)

    def _answer(
        self,
        case: Case,
        seen: Seen,
        choice: Choice,
        reason: str = "",
        *,
        despite: bool = False,
        files: Mapping[str, str] | None = None,
    ) -> Answer:
        return Answer(
            choice=choice,
            by=self._person,
            reason=reason,
            tree=case.contender.tree,
            main=case.run.main,
            shown=as_text(page(case)),
            lines_seen=min(seen.lines, len(self._diff(case))),
            lines=len(self._diff(case)),
            despite=despite,
            files=dict(files or {}),
        )

    def _diff(self, case: Case) -> list[Text]:
        return diff_lines(case, self._console.width)

    def asks(self, lines: Sequence[Text], note: str, prompt: Sequence[str]) -> str:
        """The key that is pressed at a screen of lines, as many as fit, with a note and what the keys do below them.

        What was typed before it stood there is dropped.
        """
        console = self._console
        console.clear()
        self._print(lines[: self._room(prompt)])
        console.print(Text(note[: console.width - 1], style="bold yellow"))
        self._keys.forget()
        console.print(Text("\n".join(line[: console.width - 1] for line in prompt), style="bold"), end="")
        return self._keys.key().lower()

    def say(self, text: str, style: str = "") -> None:
        """A line below the question, while something takes its time."""
        self._console.print(Text(text, style=style))

    def wrapped(self, shown: RenderableType) -> list[Text]:
        """What is to be shown, line by line, as wide as the terminal."""
        rows = self._console.render_lines(shown, pad=False)
        return [Text.assemble(*((part.text, part.style or "") for part in row)) for row in rows]

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._console.width

    def _ask(self, case: Case, seen: Seen, note: str) -> str:
        """The key pressed at the page, with as much of the diff as fits below it."""
        top, diff = self._page(case), self._diff(case)
        room = self._room(PROMPT)
        seen.lines = max(seen.lines, min(room, len(top) + len(diff)) - len(top))
        hints = ["The page goes on: press space."] if len(top) > room else []
        if case.requests:
            hints.append(f"{counted(case.requests, 'request')} of agents wait: press w.")
        prompt = [line.format(lines=len(diff)) for line in PROMPT]
        return self.asks([*top, *diff], note or "  ".join(hints), prompt)

    def _page_through(self, case: Case, seen: Seen) -> None:
        """The diff, a screenful at a time; the page as well where it did not fit."""
        console, page_lines = self._console, self._page(case)
        whole = len(page_lines) > self._room(PROMPT)
        before = len(page_lines) if whole else 0
        lines = [*page_lines, *self._diff(case)] if whole else self._diff(case)
        top = 0
        while True:
            height = max(1, console.height - 1)
            bottom = min(len(lines), top + height)
            seen.lines = max(seen.lines, bottom - before)
            console.clear()
            self._print(lines[top:bottom])
            where = f"lines {top + 1}-{bottom} of {len(lines)}"
            console.print(Text(f"{where}   {MORE}"[: console.width - 1], style="bold"), end="")
            match self._keys.key().lower():
                case "b" | "up" | "page up":
                    top = max(0, top - height)
                case " " | "f" | "enter" | "down" | "page down":
                    if bottom == len(lines):
                        return
                    top = bottom
                case "q" | "escape" | "interrupt" | "closed":
                    return

    def _room(self, prompt: Sequence[str]) -> int:
        """Lines above the note and the question."""
        return max(1, self._console.height - 1 - len(prompt))

    def _page(self, case: Case) -> list[Text]:
        return [*self.wrapped(page(case)), Text("")]

    def line(self, question: str) -> str | None:
        """A line of text from the person; None where it was taken back."""
        console = self._console
        console.print()
        console.print(Text(question, style="bold"), end="")
        told = [""]

        def echo(text: str) -> None:
            kept = next(
                (n for n, pair in enumerate(zip(told[0], text, strict=False)) if pair[0] != pair[1]), None
            )
            kept = min(len(told[0]), len(text)) if kept is None else kept
            console.file.write("\b \b" * (len(told[0]) - kept) + text[kept:])
            console.file.flush()
            told[0] = text

        answer = self._keys.line(echo)
        console.print()
        return None if answer is None else safe(answer, LONGEST_REASON)

    def _print(self, lines: Iterable[Text]) -> None:
        for line in lines:
            self._console.print(line, no_wrap=True, overflow="crop")


def edit(files: Mapping[str, str], first: Iterable[str]) -> dict[str, str]:
    """The files that a person changed in ``$VISUAL``, ``$EDITOR`` or vi; those of ``first`` are opened.

    Raises:
        UsageError: there is no such editor, it failed, or a file is no longer UTF-8.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="darwin-edit-") as name:
        folder = Path(name)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8", newline="")
        opened = [path for path in first if path in files] or sorted(files)
        try:
            status = _in_foreground([*command, *opened], folder)
        except OSError as error:
            raise UsageError(
                f"The editor {command[0]} cannot be run ({error.strerror}): set EDITOR."
            ) from error
        if status:
            raise UsageError(f"The editor {Path(command[0]).name} ended with {status}: the edit was dropped.")
        try:
            after = {path: (folder / path).read_bytes().decode() for path in files}
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Your edit cannot be read ({error}): it was dropped.") from error
    return {path: text for path, text in after.items() if text != files[path]}


def _in_foreground(command: Sequence[str], folder: Path) -> int:
    """Run a program that takes the whole terminal; its exit status.

    It is a foreground process group of its own, so that Ctrl-C in an editor ends neither the run nor git's helpers. A
    program that is stopped there (Ctrl-Z) goes on at once: no shell would ever bring it back.
    """
    process = subprocess.Popen(command, cwd=folder, process_group=0)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return process.wait()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # else taking the terminal back would stop us
    try:
        while process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):  # it has ended already
                os.tcsetpgrp(terminal, process.pid)
                os.killpg(process.pid, signal.SIGCONT)
            status = os.waitpid(process.pid, os.WUNTRACED)[1]
            if not os.WIFSTOPPED(status):
                process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode
    finally:
        os.tcsetpgrp(terminal, os.getpgrp())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
        os.close(terminal)


def as_text(shown: RenderableType) -> str:
    """What was on the screen, as plain text of 80 columns."""
    console = Console(file=io.StringIO(), width=RECORDED_WIDTH, color_system=None, force_terminal=False)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _share(seen: Seen, diff: list[Text]) -> str:
    count = min(seen.lines, len(diff))
    return f"all {len(diff)} lines" if count == len(diff) else f"{count} of {len(diff)} lines"
