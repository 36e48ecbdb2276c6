"""Edits as models write them: each kind of drift is applied exactly as meant, or refused with a reason, never half."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darwin.agents import chunks, drift
from darwin.agents.errors import EditError
from darwin.begin import ANCESTOR

MODEL = (
    '"""Model."""\n\nimport math\n\n\nclass Norm:\n    def forward(self, x):\n        return x\n\n\n'
    "def act(x):\n    return gelu(x)\n\n\nrate = 0.1\nsteps = 10\nrate2 = 0.1\n"
)
TRAIN = "lr = 0.001\n\nfor step in range(10):\n    loss = model(step)\n    loss.backward()\n\nprint('done')\n"
FILES = {"model.py": MODEL, "train.py": TRAIN}
ONE = MODEL.replace("    return gelu(x)\n", "    return relu(x)\n")


def block(
    search: str,
    replace: str,
    name: str = "### model.py\n",
    marks=("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"),
) -> str:
    return f"{name}{marks[0]}\n{search}{marks[1]}\n{replace}{marks[2]}\n"


OLD, NEW = "    return gelu(x)\n", "    return relu(x)\n"
PLAIN = block(OLD, NEW)

MEANT = {  # kind of drift -> (answer, model.py as it is meant)
    "exact": (PLAIN, ONE),
    "prose around": (f"Here you are:\n\n{PLAIN}\nThat should help.", ONE),
    "fence around": (f"### model.py\n```python\n{PLAIN.partition(chr(10))[2]}```\n", ONE),
    "fence around, name inside it": (f"```python\n{PLAIN}```\n", ONE),
    "name in the fence's line": (block(OLD, NEW, "```python model.py\n") + "```\n", ONE),
    "name as the fence's language": (block(OLD, NEW, "```model.py\n") + "```\n", ONE),
    "tilde fence": (f"### model.py\n~~~\n{PLAIN.partition(chr(10))[2]}~~~\n", ONE),
    "fence inside the parts": (block(f"```python\n{OLD}```\n", f"```python\n{NEW}```\n"), ONE),
    "fence inside one part": (block(f"```\n{OLD}```\n", NEW), ONE),
    "bare name": (block(OLD, NEW, "model.py\n"), ONE),
    "name with a colon": (block(OLD, NEW, "model.py:\n"), ONE),
    "name in backticks": (block(OLD, NEW, "`model.py`\n"), ONE),
    "name in bold": (block(OLD, NEW, "**model.py**\n"), ONE),
    "name in bold with a colon": (block(OLD, NEW, "**model.py:**\n"), ONE),
    "File: name": (block(OLD, NEW, "File: model.py\n"), ONE),
    "### File: `name`": (block(OLD, NEW, "### File: `model.py`\n"), ONE),
    "path: name": (block(OLD, NEW, "path: model.py\n"), ONE),
    "filename in quotes": (block(OLD, NEW, 'filename: "model.py"\n'), ONE),
    "comment with the name": (block(OLD, NEW, "# model.py\n"), ONE),
    "list item with the name": (block(OLD, NEW, "- model.py\n"), ONE),
    "./ before the name": (block(OLD, NEW, "### ./model.py\n"), ONE),
    "a folder before the name": (block(OLD, NEW, "### nanogpt_base/model.py\n"), ONE),
    "no name, one file has the text": (block(OLD, NEW, ""), ONE),
    "marks without a space": (block(OLD, NEW, marks=("<<<<<<<SEARCH", "=======", ">>>>>>>REPLACE")), ONE),
    "short marks": (block(OLD, NEW, marks=("<<<<< SEARCH", "=====", ">>>>> REPLACE")), ONE),
    "long marks": (block(OLD, NEW, marks=("<<<<<<<<< SEARCH", "=========", ">>>>>>>>> REPLACE")), ONE),
    "uneven marks": (block(OLD, NEW, marks=("<<<<<< SEARCH", "========", ">>>>>>>> REPLACE")), ONE),
    "lower-case marks": (block(OLD, NEW, marks=("<<<<<<< search", "=======", ">>>>>>> replace")), ONE),
    "ORIGINAL and UPDATED": (block(OLD, NEW, marks=("<<<<<<< ORIGINAL", "=======", ">>>>>>> UPDATED")), ONE),
    "OLD and NEW": (block(OLD, NEW, marks=("<<<<<<< OLD", "=======", ">>>>>>> NEW")), ONE),
    "a name after the mark": (
        block(OLD, NEW, marks=("<<<<<<< SEARCH model.py", "=======", ">>>>>>> REPLACE")),
        ONE,
    ),
    "indented marks": (block(OLD, NEW, marks=("  <<<<<<< SEARCH", "  =======", "  >>>>>>> REPLACE")), ONE),
    "trailing blanks after marks": (
        block(OLD, NEW, marks=("<<<<<<< SEARCH  ", "=======\t", ">>>>>>> REPLACE ")),
        ONE,
    ),
    "CRLF throughout": (PLAIN.replace("\n", "\r\n"), ONE),
    "bare CR": (PLAIN.replace("\n", "\r"), ONE),
    "no last newline": (PLAIN.rstrip("\n"), ONE),
    "blank lines before and after the text": (block(f"\n\n{OLD}\n", f"\n{NEW}\n\n"), ONE),
    "trailing blanks in the text": (block("    return gelu(x)   \n", NEW), ONE),
    "no-break space in the text": (block("    return\u00a0gelu(x)\n", NEW), ONE),
    "zero-width space in the text": (block("    return \u200bgelu(x)\n", NEW), ONE),
    "byte order mark": (block("\ufeff    return gelu(x)\n", NEW), ONE),
    "tab for spaces": (block("\treturn gelu(x)\n", "\treturn relu(x)\n"), ONE),
    "indentation lost": (block("return gelu(x)\n", "return relu(x)\n"), ONE),
    "indentation too deep": (block("        return gelu(x)\n", "        return relu(x)\n"), ONE),
    "indentation lost on two lines": (
        block("def forward(self, x):\n    return x\n", "def forward(self, x):\n    return 2 * x\n"),
        MODEL.replace("        return x\n", "        return 2 * x\n"),
    ),
    "indentation lost, a line more": (
        block("return gelu(x)\n", "y = relu(x)\nif y:\n    y = y\nreturn y\n"),
        MODEL.replace(OLD, "    y = relu(x)\n    if y:\n        y = y\n    return y\n"),
    ),
    "indentation lost, a blank line in it": (
        block("return gelu(x)\n", "y = relu(x)\n\nreturn y\n"),
        MODEL.replace(OLD, "    y = relu(x)\n\n    return y\n"),
    ),
    "deletion": (block(OLD, ""), MODEL.replace(OLD, "")),
    "deletion by a blank line": (block("steps = 10\n", "\n"), MODEL.replace("steps = 10\n", "\n")),
    "two blocks": (
        PLAIN + block("steps = 10\n", "steps = 20\n", ""),
        ONE.replace("steps = 10", "steps = 20"),
    ),
    "two blocks, the second on the first's result": (
        PLAIN + block(NEW, "    return silu(x)\n", ""),
        ONE.replace("relu", "silu"),
    ),
    "a block twice as long as its text": (
        block("steps = 10\n", "steps = 20\nmore = 1\n"),
        MODEL.replace("steps = 10\n", "steps = 20\nmore = 1\n"),
    ),
    "a dash line in the text": (block(OLD, "    # -----\n" + NEW), MODEL.replace(OLD, "    # -----\n" + NEW)),
    "a comparison in the text": (
        block(OLD, "    return x == 3\n"),
        MODEL.replace(OLD, "    return x == 3\n"),
    ),
    "a real ellipsis in new code": (block(OLD, "    ...\n"), MODEL.replace(OLD, "    ...\n")),
    "heading twice": ("### model.py\n" + PLAIN, ONE),
    "prose ruled off": ("Plan\n=====\nDo it.\n\n" + PLAIN, ONE),
}

REFUSED = {  # kind -> (answer, words of the reason)
    "nothing": ("", "no SEARCH/REPLACE block"),
    "prose alone": ("I would change the rate.", "no SEARCH/REPLACE block"),
    "a unified diff": ("--- a/model.py\n+++ b/model.py\n@@ -1 +1 @@\n-a\n+b\n", "patch in another format"),
    "an apply_patch": ("*** Begin Patch\n*** Update File: model.py\n", "patch in another format"),
    "a whole file in place of blocks": (f"### model.py\n```python\n{MODEL}```\n", "no SEARCH/REPLACE block"),
    "no end": ("### model.py\n<<<<<<< SEARCH\n" + OLD + "=======\n" + NEW, "does not end with"),
    "cut off in the search": ("### model.py\n<<<<<<< SEARCH\n    ret", "does not end with"),
    "no middle": ("### model.py\n<<<<<<< SEARCH\n" + OLD + ">>>>>>> REPLACE\n", 'has no "======="'),
    "two middles": (block(OLD, NEW + "=======\n" + NEW), 'a second "======="'),
    "a block inside another": ("### model.py\n<<<<<<< SEARCH\n" + PLAIN, "out of place"),
    "an end without a beginning": ("### model.py\n>>>>>>> REPLACE\n", "out of place"),
    "empty search": (block("", NEW), "the text to replace is empty"),
    "blank search": (block("  \n\n", NEW), "the text to replace is empty"),
    "text that is not there": (block("    return tanh(x)\n", NEW), "does not occur"),
    "a typo": (block("    return gleu(x)\n", NEW), 'The nearest line is "return gelu(x)"'),
    "elision in the search": (
        block("class Norm:\n    ...\n    return gelu(x)\n", NEW),
        "leaves something out",
    ),
    "elision in the new text": (block(OLD, "    # ... existing code ...\n" + NEW), "leaves something out"),
    "rest unchanged": (block(OLD, NEW + "    # rest of the function unchanged\n"), "leaves something out"),
    "bare dots as a comment": (block(OLD, NEW + "    # ...\n"), "leaves something out"),
    "an unknown file": (
        block(OLD, NEW, "### other.py\n"),
        "there is no file other.py, only model.py, train.py",
    ),
    "an absolute path to another": (block(OLD, NEW, "### etc/passwd.txt\n"), "there is no file"),
    "no name, no file has the text": (block("nowhere\n", NEW, ""), "stands under no file name"),
    "lines out of order": (block("steps = 10\nrate = 0.1\n", NEW), "does not occur"),
    "a line missing within": (block("class Norm:\n        return x\n", NEW), "does not occur"),
    "uneven indentation": (block("def forward(self, x):\nreturn x\n", NEW), "does not occur"),
    "part of a line": (block("gelu\n", "relu\n"), "does not occur"),
    "the second block does not fit": (PLAIN + block("nowhere at all\n", "x\n", ""), "does not occur"),
    "the second block is cut off": (PLAIN + "<<<<<<< SEARCH\nsteps", "does not end with"),
    "the right text in the wrong file": (block(OLD, NEW, "### train.py\n"), "does not occur"),
}


@pytest.mark.parametrize("kind", MEANT)
def test_drift_is_taken_for_what_it_plainly_means(kind):
    answer, meant = MEANT[kind]
    assert drift.rewrite_blocks(answer, FILES) == {**FILES, "model.py": meant}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_plain_is_refused_with_the_reason_and_nothing_is_changed(kind):
    answer, words = REFUSED[kind]
    before = dict(FILES)
    with pytest.raises(EditError) as refused:
        drift.rewrite_blocks(answer, before)
    assert words in str(refused.value) and before == FILES


AMBIGUOUS = {
    "twice, exactly": ("a = 1\nb = 2\na = 1\n", "a = 1\n", "occurs 2 times"),
    "twice, by trailing blanks": ("a = 1 \nb = 2\na = 1\t\n", "a = 1\n", "occurs 2 times"),
    "twice, at two depths": ("if x:\n    a = 1\nelse:\n        a = 1\n", "  a = 1\n", "occurs 2 times"),
    "overlapping": ("a\na\na\n", "a\na\n", "occurs 2 times"),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_what_may_mean_two_places_is_refused(kind):
    text, search, words = AMBIGUOUS[kind]
    with pytest.raises(EditError, match=words):
        drift.rewrite_blocks(block(search, "z\n"), {"model.py": text})


def test_an_exact_place_wins_over_looser_ones():
    text = "a = 1\nif x:\n    a = 1\n"
    assert (
        drift.rewrite_blocks(block("a = 1\n", "a = 2\n"), {"model.py": text})["model.py"]
        == "a = 2\nif x:\n    a = 1\n"
    )


def test_the_ends_of_lines_and_tabs_of_a_file_stay():
    crlf = MODEL.replace("\n", "\r\n")
    assert drift.rewrite_blocks(PLAIN, {"model.py": crlf})["model.py"] == ONE.replace("\n", "\r\n")
    tabs = MODEL.replace("    ", "\t")
    assert drift.rewrite_blocks(PLAIN, {"model.py": tabs})["model.py"] == ONE.replace("    ", "\t")
    assert drift.rewrite_blocks(block("b\n", "c\n"), {"model.py": "a\nb"})["model.py"] == "a\nc\n"


WHOLE = {
    "exact": f"### model.py\n```python\n{ONE}```\n",
    "name in the fence": f"```python model.py\n{ONE}```\n",
    "tildes": f"model.py\n~~~\n{ONE}~~~\n",
    "CRLF": f"### model.py\n```\n{ONE}```\n".replace("\n", "\r\n"),
    "four ticks": f"### model.py\n````python\n{ONE}````\n",
    "prose around": f"Sure.\n\n**model.py**\n\n```python\n{ONE}```\n\nIt is whole.\n",
    "both files": f"### model.py\n```python\n{ONE}```\n\n### train.py\n```python\n{TRAIN}```\n",
}


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_files_are_read(kind):
    assert drift.rewrite_files(WHOLE[kind], FILES) == {**FILES, "model.py": ONE}


def test_a_fence_within_a_file_is_part_of_it():
    inner = 'def f():\n    """\n```\nexample\n```\n    """\n'
    answer = f"### model.py\n```python\n{inner}```\n\n### train.py\n```python\n{TRAIN}```\n"
    assert drift.rewrite_files(answer, FILES)["model.py"] == inner


UNWHOLE = {
    "no fence": (ONE, "no whole file"),
    "no end": (f"### model.py\n```python\n{ONE}", "has no end"),
    "no name": (f"```python\n{ONE}```\n", "no file name"),
    "unknown": (f"### new.py\n```python\n{ONE}```\n", "there is no file new.py"),
    "twice": (f"### model.py\n```python\n{ONE}```\n### model.py\n```python\n{ONE}```\n", "given twice"),
    "empty": ("### model.py\n```python\n\n```\n", "is empty"),
    "elided": ("### model.py\n```python\n# ... rest of the code unchanged\n```\n", "leaves something out"),
    "elided in the middle": (
        f"### model.py\n```python\n{ONE}# (existing code here)\n```\n",
        "leaves something out",
    ),
}


@pytest.mark.parametrize("kind", UNWHOLE)
def test_files_that_are_not_whole_are_refused(kind):
    answer, words = UNWHOLE[kind]
    with pytest.raises(EditError, match=words):
        drift.rewrite_files(answer, FILES)


def test_the_base_script_itself_holds_nothing_that_reads_like_an_elision():
    for name in ("model.py", "train.py"):
        text = (ANCESTOR / name).read_text()
        assert drift.rewrite_files(f"### {name}\n```python\n{text}```\n", {name: ""}) == {name: text}


def test_there_are_at_least_eighty_kinds():
    assert len(MEANT) + len(REFUSED) + len(AMBIGUOUS) + len(WHOLE) + len(UNWHOLE) >= 80


CHUNK = next(c for c in chunks.split(FILES) if c.name == "act")


def test_a_definition_is_replaced_and_the_rest_stays():
    assert chunks.replaced(FILES, CHUNK, "def act(x):\n    return relu(x)\n")["model.py"] == ONE
    helper = "def half(x):\n    return x / 2\n\n\ndef act(x):\n    return half(x)\n"
    assert helper in chunks.replaced(FILES, CHUNK, helper)["model.py"]


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("def other(x):\n    return x\n", "definition of act"),
        ("import os\n\ndef act(x):\n    return x\n", "imports are frozen"),
        ("def act(x):\n    import os\n    return x\n", "imports are frozen"),
        ("act = 5\n", "definition of act"),
        ("def act(x)\n    return x\n", "does not parse"),
    ],
)
def test_what_is_no_rewrite_of_a_definition_is_refused(new, words):
    with pytest.raises(EditError, match=words):
        chunks.replaced(FILES, CHUNK, new)


lines = st.lists(
    st.text(st.characters(codec="ascii", exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e<>=`~\x00"), max_size=8),
    min_size=1,
    max_size=5,
)
texts = lines.map(lambda parts: "".join(part + "\n" for part in parts))


@given(texts, texts, texts, texts)
def test_an_exact_block_changes_its_place_alone_or_is_refused(before, old, new, after):
    text = before + old + after
    try:
        found = drift.rewrite_blocks(block(old, new), {"model.py": text})["model.py"]
    except EditError:
        assert text.count(old) != 1 or not old.strip() or not _plain(old, new, text)
        return
    assert found == before + new + after or text.count(old) != 1


def _plain(old: str, new: str, text: str) -> bool:
    """Whether nothing in a block reads like a mark, a fence, a name or an elision, and its lines stand once."""
    rows, wanted = text.split("\n"), old.split("\n")[:-1]
    times = sum(rows[i : i + len(wanted)] == wanted for i in range(len(rows)))
    return times == 1 and not any(drift.ELISION.fullmatch(row) for row in new.split("\n"))


@given(st.integers(0, 3), st.integers(0, 3))
def test_any_uniform_shift_of_the_indentation_gives_the_same_result(there, written):
    def at(depth: int, body: str) -> str:
        return "".join("    " * depth + line + "\n" for line in body.splitlines())

    old, new = "if a:\n    b = 1\nc = 2", "if a:\n    b = 3\n    d = 4\nc = 5"
    text = "top = 0\n" + at(there, old) + "end = 0\n"
    found = drift.rewrite_blocks(block(at(written, old), at(written, new)), {"model.py": text})["model.py"]
    assert found == "top = 0\n" + at(there, new) + "end = 0\n"


@given(st.text(max_size=300), texts)
def test_any_answer_is_applied_or_refused_and_the_files_stay(answer, text):
    for written in (answer, block(answer, answer), block(text, answer), f"### model.py\n```\n{answer}\n```"):
        files = {"model.py": text, "train.py": "x = 1\n"}
        for reader in (drift.rewrite_blocks, drift.rewrite_files):
            try:
                found = reader(written, files)
            except EditError as error:
                assert str(error)
            else:
                assert found.keys() == files.keys()
            assert files == {"model.py": text, "train.py": "x = 1\n"}
