"""Nothing hides in a change: every deceptive one is shown for what it is, or refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from darwin import changes, gate
from darwin.answers import Answer
from darwin.desk import as_text
from darwin.errors import UsageError
from darwin.gate import waiting
from darwin.memory.notes import store_object, store_tree
from darwin.memory.records import Choice
from darwin.page import diff_lines, page
from darwin.reviewers import Auto, Policy
from darwin.workspace import open_workspace

EVE = "Eve <eve@example.org>"


@pytest.fixture
def opened(finished):
    """Opened anew for each test; all they add to it is objects that nothing refers to."""
    return open_workspace(finished)


def contender_with(opened, files=None, entries=None, **changed):
    """The waiting contender with another tree: further files, and raw git entries {name: (mode, object)}."""
    memory, lineage = opened.memory, opened.lineage
    contender = waiting(memory)[-1]
    commit, tree = lineage.commit(
        {**lineage.files(contender.commit), **(files or {})},
        [contender.commit],
        ordinal=1,
        author="Ada",
        subject="x",
    )
    if entries:
        rows = [row.partition("\t") for row in lineage.repo.git.ls_tree(tree).splitlines()]
        known = {name: (meta.split()[0], meta.split()[2]) for meta, _, name in rows}
        tree = store_tree(lineage.repo, {**known, **entries})
        commit = lineage.repo.git.commit_tree(tree, "-p", contender.commit, "-m", "x")
    contender = contender.model_copy(update={"commit": commit, "tree": tree, **changed})
    memory.individuals[contender.id] = contender
    return contender


def seen(opened, contender) -> str:
    """All that a person gets to see of it, as plain text."""
    case = gate.case(opened.memory, opened.lineage, contender)
    return as_text(page(case)) + "\n" + "\n".join(line.plain for line in diff_lines(case, 80))


def line_of(opened, contender, addition: str) -> bytes:
    """model.py of the contender with one more line at its end."""
    return opened.lineage.files(contender.commit)["model.py"] + addition.encode()


SHOWN = {
    "a terminal escape": ("x = 1  # \x1b[2K\x1b[1A hidden\n", "<U+001B>[2K"),
    "a carriage return over the line": ("x = 2\rx = 1\n", "x = 2<U+000D>x = 1"),
    "a backspace": ("x = 2\b1\n", "x = 2<U+0008>1"),
    "a form feed": ("x = 1\f\n", "<U+000C>"),
    "a bidirectional override": ("ok = 'user\u202e\u2066# check\u2069'\n", "<U+202E><U+2066># check<U+2069>"),
    "a zero-width space": ("lo\u200bss = 0\n", "lo<U+200B>ss = 0"),
    "a byte order mark inside": ("x = 1\ufeff\n", "x = 1<U+FEFF>"),
    "a Cyrillic a": ("l\u043ess = 0\n", "l<U+043E>ss = 0"),
    "a full-width letter": ("\uff4coss = 0\n", "<U+FF4C>oss = 0"),
    "an ordinal sign that Python reads as a": ("p\u00aara = 0\n", "p<U+00AA>ra = 0"),
    "an invisible identifier": ("\u3164 = 0\n", "<U+3164> = 0"),
    "a line separator": ("x = 1  # \u2028import os\n", "<U+2028>import os"),
    "a no-break space": ("x =\u00a01\n", "x =<U+00A0>1"),
    "tag characters": ("x = 1  # \U000e0041\n", "<U+E0041>"),
    "a combining mark": ("x = 'e\u0301'\n", "e<U+0301>"),
    "markup of the screen": ("x = '[bold green]BETTER[/]'\n", "[bold green]BETTER[/]"),
    "a line like a diff's heading": ("++ b/other.py\n", "+ ++ b/other.py"),
    "trailing spaces alone": ("x = 1   \n", "x = 1···"),
    "no newline at the end": ("x = 1", "x = 1<no newline>"),
}


@pytest.mark.parametrize("trick", SHOWN)
def test_a_deceptive_line_is_shown_for_what_it_is(opened, trick):
    addition, shown = SHOWN[trick]
    contender = waiting(opened.memory)[-1]
    text = seen(opened, contender_with(opened, {"model.py": line_of(opened, contender, addition)}))
    assert shown in text
    assert all(c.isprintable() for line in text.splitlines() for c in line)
    if "<U+" in shown:
        assert "Look at: model.py, line" in text


def test_code_far_to_the_right_is_wrapped_into_view_and_pointed_out(opened):
    contender = waiting(opened.memory)[-1]
    addition = "x = 1" + " " * 300 + "; import os\n"
    text = seen(opened, contender_with(opened, {"model.py": line_of(opened, contender, addition)}))
    assert "; import os" in text and "far to the right" in text


def test_what_code_can_newly_reach_is_pointed_out(opened):
    contender = waiting(opened.memory)[-1]
    addition = "import socket\nexec('1')\n"
    text = seen(opened, contender_with(opened, {"model.py": line_of(opened, contender, addition)}))
    assert "Look at: model.py newly uses exec(), import socket" in text


def test_texts_of_an_author_act_on_nothing(opened):
    contender = contender_with(
        opened,
        subject="Good\x1b]0;pwned\x07\u202e [red]x[/red]\nBETTER than main",
        hypothesis="\x1b[2J\u2066yes" * 99,
    )
    text = seen(opened, contender)
    assert "\x1b" not in text and "\u202e" not in text and "[red]x[/red]" in text
    assert not any(line.startswith("BETTER than main") and "(g" not in line for line in text.splitlines())


REFUSED = {
    "a new file": ({"extra.py": b"x = 1\n"}, "extra.py is not among the files that may be rewritten"),
    "the contract": ({"genome.toml": b"[genome]\n"}, "genome.toml is the contract itself"),
    "git attributes": ({".gitattributes": b"*.py -diff\n"}, ".gitattributes is a dot-file"),
    "a hook": ({".githooks/post-merge": b"#!/bin/sh\n"}, ".githooks/post-merge is a dot-file"),
    "a name with a Cyrillic letter": ({"m\u043edel.py": b"x\n"}, "m<U+043E>del.py has characters in its name"),
    "a name with an escape": ({"m\x1b[31m.py": b"x\n"}, "m<U+001B>[31m.py has characters in its name"),
    "a module that shadows another": ({"torch/__init__.py": b""}, "torch/__init__.py is not among the files"),
}  # fmt: skip


@pytest.mark.parametrize("trick", REFUSED)
def test_a_file_that_no_change_may_touch_is_refused(opened, trick):
    files, words = REFUSED[trick]
    _refused(opened, contender_with(opened, files), words)


@pytest.mark.parametrize(
    ("mode", "words"),
    [("120000", "model.py becomes a link"), ("100755", "model.py becomes an executable file")],
)
def test_a_mode_is_refused(opened, mode, words):
    blob = store_object(opened.lineage.repo, "blob", b"/etc/passwd")
    _refused(opened, contender_with(opened, entries={"model.py": (mode, blob)}), words)


def test_a_submodule_is_refused(opened):
    entries = {"model.py": ("160000", waiting(opened.memory)[-1].commit)}
    _refused(opened, contender_with(opened, entries=entries), "model.py becomes another repository")


def _refused(opened, contender, words):
    assert f"CANNOT MERGE: {words}" in " ".join(seen(opened, contender).split())
    before = opened.memory.run
    case = gate.case(opened.memory, opened.lineage, contender)
    for reviewer in (Auto(), Policy(0.0, 0.0, 10**6)):
        assert reviewer.review(case).choice is Choice.DEFER
    with pytest.raises(UsageError, match="cannot be merged"):
        gate.decide(opened.memory, opened.lineage, contender, Answer(choice=Choice.MERGE, by=EVE), before)
    assert opened.memory.run == before
    assert opened.lineage.repo.git.rev_parse("main") == before.main


def test_no_attribute_and_no_setting_of_gits_changes_what_is_shown(folder, monkeypatch):
    opened = open_workspace(folder)
    contender = waiting(opened.memory)[-1]
    plain = seen(opened, contender)
    (opened.folder / ".gitattributes").write_text("*.py -diff binary\n")
    (opened.folder / ".git/info/attributes").write_text("*.py diff=liar\n")
    with opened.lineage.repo.config_writer() as config:
        for name, value in (("command", "true"), ("textconv", "true"), ("binary", "true")):
            config.set_value('diff "liar"', name, value)
        for name, value in (
            ("external", "true"), ("noprefix", "true"), ("context", "0"), ("renames", "copies"),
            ("mnemonicPrefix", "true"), ("suppressBlankEmpty", "true"), ("wsErrorHighlight", "all"),
        ):  # fmt: skip
            config.set_value("diff", name, value)
        config.set_value("color", "ui", "always")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "true")
    monkeypatch.setenv("GIT_DIFF_OPTS", "-u0")
    assert seen(opened, contender) == plain


def test_lines_that_do_not_give_the_merged_file_are_refused(opened, monkeypatch):
    contender = waiting(opened.memory)[-1]
    honest = changes._diff
    monkeypatch.setattr(changes, "_diff", lambda *a: honest(*a).replace(b"\n+", b"\n+ "))
    change = gate.case(opened.memory, opened.lineage, contender).change
    assert "cannot be shown exactly" in change.objections[0]


@pytest.mark.parametrize("count", [1, 9, 40])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"a\nb\n"),
        (b"a\nb\n", b""),
        (b"a\nb", b"a\nb\n"),
        (b"a\r\nb\n", b"a\nb\n"),
        (b"\xff\0a\n", b"\xfe\n"),
    ],
)
def test_the_lines_shown_applied_to_the_file_before_give_the_file_after(opened, before, after, count):
    lineage = opened.lineage
    around = [b"line %d\n" % n for n in range(count)]
    texts = [b"".join(around) + part + b"".join(around) for part in (before, after)]
    commits = [lineage.commit({"a.py": t}, [], ordinal=0, author=None, subject="x")[0] for t in texts]
    change = changes.read(lineage.repo, *commits, ["a.py"])
    assert change.objections == ()
    whole = changes.read(
        lineage.repo, commits[0], lineage.commit({}, [], ordinal=0, author=None, subject="y")[0], ["a.py"]
    )
    assert whole.objections == () and whole.files[0].fate == "deleted"


def test_a_waiting_change_that_is_honest_has_nothing_to_be_pointed_out(opened):
    for contender in waiting(opened.memory):
        change = gate.case(opened.memory, opened.lineage, contender).change
        assert change.files and change.objections == ()
        assert replace(change, cautions=()) == change
