"""Technique files: what is wrong with one is said with file and key."""

import pytest

from darwin.agents.errors import KnowledgeError
from darwin.agents.knowledge import FOLDER, read, techniques

GOOD = (FOLDER / "muon.md").read_text(encoding="utf-8")


def test_front_matter_body_and_edits_are_read() -> None:
    muon = read("muon.md", GOOD)
    assert (muon.id, muon.title, muon.family) == ("muon", "Muon", "optimizer")
    assert (muon.source.year, muon.source.arxiv) == (2024, None)
    assert muon.body.startswith("The momentum of each hidden matrix")
    assert {edit.file for edit in muon.edits} == {"train.py"}


def test_each_has_a_source_and_a_subject() -> None:
    for technique in techniques():
        assert technique.source.title
        assert technique.changes[0].isupper()
        assert not technique.changes.endswith(".")
        assert technique.body


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "---\nid",
            "id",
            "muon.md: the front matter is missing. Begin the file with --- and end it with ---.",
        ),
        ("id: muon", "id: nuon", 'muon.md: "id" is "nuon", but the file is called "muon.md".'),
        ("title: Muon\n", "", 'muon.md: the front matter has no "title".'),
        (
            "family: optimizer",
            "family: optimiser",
            'muon.md: "family" is "optimiser", accepted are activation, ',
        ),
        ("year: 2024", "year: soon", "muon.md: \"year\" is 'soon', expected a int."),
        ("arxiv: null", "arxiv: 1.5", 'muon.md: "arxiv" is 1.5, expected a text in quotes, or null.'),
        ("price: ", "price: much # ", "muon.md: \"price\" is 'much', expected a number."),
        ("price: ", "cost: 1\nprice: ", 'muon.md: "cost" is no key of the front matter.'),
        ("changes: ", "changes: Really and truly and thoroughly and after all ", 'muon.md: "changes" has '),
        ("id: muon", "id: [", "muon.md: the front matter is not YAML ("),
        (">>>>>>> REPLACE\n", "", "muon.md: "),
    ],
)
def test_a_bad_file_is_named_with_its_key(old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(KnowledgeError) as error:
        read("muon.md", GOOD.replace(old, new))
    assert str(error.value).startswith(sentence)
