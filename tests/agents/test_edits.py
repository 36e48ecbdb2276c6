"""SEARCH/REPLACE blocks: what they say is done exactly, or nothing is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darwin.agents import edits
from darwin.agents.edits import Edit
from darwin.agents.errors import EditError

BLOCK = """Some prose.

### model.py
```python
<<<<<<< SEARCH
    a = 1
=======
    a = 2
    b = 3
>>>>>>> REPLACE
```

`train.py`
<<<<<<< SEARCH
x
=======
>>>>>>> REPLACE
"""

MARKS = (edits.OPEN, edits.MIDDLE, edits.CLOSE)
line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=12).filter(
    lambda text: text.rstrip() not in MARKS
)
lines = st.lists(line, min_size=1, max_size=6)


def text(parts: list[str]) -> str:
    return "".join(part + "\n" for part in parts)


def block(search: str, replace: str) -> str:
    return f"### model.py\n{edits.OPEN}\n{search}{edits.MIDDLE}\n{replace}{edits.CLOSE}\n"


def test_blocks_are_read_with_their_files() -> None:
    assert edits.parse(BLOCK) == [
        Edit("model.py", "    a = 1\n", "    a = 2\n    b = 3\n"),
        Edit("train.py", "x\n", ""),
    ]


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n", "Block 1 stands under no file name"),
        ("### a.py\n<<<<<<< SEARCH\na\n=======\nb\n", 'a.py, block 1 does not end with ">>>>>>> REPLACE"'),
        (
            "### a.py\n<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n",
            'a.py, block 1: ">>>>>>> REPLACE" is out of place',
        ),
        (
            "### a.py\n<<<<<<< SEARCH\n\n=======\nb\n>>>>>>> REPLACE\n",
            "a.py, block 1: the text to replace is empty",
        ),
        ("### a.py\n=======\n", 'Block 1 has "=======" before "<<<<<<< SEARCH"'),
        ("### a.py\n<<<<<<< SEARCH\na\n<<<<<<< SEARCH\n", 'a.py, block 1: "<<<<<<< SEARCH" is out of place'),
    ],
)
def test_a_malformed_block_is_refused_with_the_reason(written: str, sentence: str) -> None:
    with pytest.raises(EditError) as error:
        edits.parse(written)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (Edit("a.py", "z\n", ""), "a.py, block 2: the text to replace does not occur. Nothing was changed."),
        (
            Edit("a.py", "x\n", ""),
            "a.py, block 2: the text to replace occurs 2 times, expected once. Nothing was changed.",
        ),
        (Edit("b.py", "x\n", ""), "b.py, block 2: there is no such file, only a.py. Nothing was changed."),
    ],
)
def test_all_or_nothing(edit: Edit, sentence: str) -> None:
    files = {"a.py": "x\ny\nx\n"}
    with pytest.raises(EditError) as error:
        edits.apply([Edit("a.py", "y\n", "w\n"), edit], files)
    assert (str(error.value), error.value.block, error.value.file) == (sentence, 2, edit.file)
    assert files == {"a.py": "x\ny\nx\n"}


def test_only_whole_lines_match() -> None:
    with pytest.raises(EditError):
        edits.apply([Edit("a.py", "a = 1\n", "a = 2\n")], {"a.py": "    a = 1\n"})


def test_overlapping_places_are_ambiguous() -> None:
    with pytest.raises(EditError, match="2 times"):
        edits.apply([Edit("a.py", "a\na\n", "b\n")], {"a.py": "a\na\na\n"})


def test_a_missing_last_newline_does_not_matter() -> None:
    assert edits.apply([Edit("a.py", "a\n", "b\n")], {"a.py": "x\na"}) == {"a.py": "x\nb\n"}


def test_each_edit_sees_the_result_of_those_before() -> None:
    chain = [Edit("a.py", "a\n", "b\n"), Edit("a.py", "b\n", "c\n")]
    assert edits.apply(chain, {"a.py": "a\n", "b.py": "a\n"}) == {"a.py": "c\n", "b.py": "a\n"}


@given(lines.filter(lambda parts: "".join(parts).strip() != ""), lines)
def test_what_is_written_is_read_back(search: list[str], replace: list[str]) -> None:
    expected = [Edit("model.py", text(search), text(replace))]
    assert edits.parse(block(text(search), text(replace))) == expected


@given(lines, lines, lines, lines)
def test_an_edit_and_its_inverse_cancel(
    before: list[str], old: list[str], new: list[str], after: list[str]
) -> None:
    files = {"a.py": text([*before, *old, *after])}
    try:
        there = edits.apply([Edit("a.py", text(old), text(new))], files)
        back = edits.apply([Edit("a.py", text(new), text(old))], there)
    except EditError:
        return  # ambiguous: refused, which the tests above are about
    assert there == {"a.py": text([*before, *new, *after])}
    assert back == files


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(written: str) -> None:
    for candidate in (written, block(written, written)):
        try:
            edits.parse(candidate)
        except EditError as error:
            assert str(error)
