"""A fingerprint moves with the program and with nothing else."""

import pytest

from darwin.agents import fingerprint

FILES = {
    "a.py": '"""Doc."""\n\n\ndef f(x):\n    """Twice."""\n    return 2 * x  # quick\n',
    "b.toml": "a = 1\n",
}


@pytest.mark.parametrize(
    "same",
    [
        {"a.py": "def f(x):\n        return (2 *   x)\n", "b.toml": "a = 1\n"},
        dict(reversed(FILES.items())),
        {**FILES, "c.py": '"""A file without code."""\n'},
    ],
)
def test_layout_comments_docstrings_and_order_do_not_count(same: dict[str, str]) -> None:
    assert fingerprint(same) == fingerprint(FILES)


@pytest.mark.parametrize(
    "other",
    [
        {**FILES, "a.py": "def f(x):\n    return 3 * x\n"},
        {**FILES, "b.toml": "a = 1 \n"},
        {"c.py": FILES["a.py"], "b.toml": FILES["b.toml"]},
        {**FILES, "c.py": "x = 1\n"},
        {**FILES, "a.py": "def f(:"},
    ],
)
def test_the_program_counts(other: dict[str, str]) -> None:
    assert fingerprint(other) != fingerprint(FILES)


def test_a_file_that_does_not_parse_counts_as_text() -> None:
    assert fingerprint({"a.py": "def ("}) != fingerprint({"a.py": "def  ("})
    assert fingerprint({"a.py": "\x00"}) == fingerprint({"a.py": "\x00"})
