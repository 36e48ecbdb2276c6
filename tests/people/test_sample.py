"""``darwin sample``: text from the base and another script side by side; what is refused before any training."""

from __future__ import annotations

import json
import sys

import pytest

from darwin import cli
from darwin.memory.records import Status
from darwin.workspace import open_workspace


@pytest.fixture
def sample(folder, warm, monkeypatch, capsys):
    """``sample(...)``: exit code, standard output and standard error; trials are plain processes."""
    config = folder / "darwin.toml"
    config.write_text(config.read_text().replace('sandbox = "auto"', 'sandbox = "process"'))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["darwin", "sample", *arguments, "-C", str(folder)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


def test_base_and_champion_go_on_from_the_same_text(folder, sample):
    champion = open_workspace(folder).memory.resolve("champion")
    code, out, error = sample("champion", "--length", "3", "--prompt", "to be ", "--json")
    assert code == 0, error
    found = json.loads(out)
    assert (code, found["prompt"], set(found["texts"])) == (0, "to be ", {"g000-base", champion.id})
    known = set("to be or not that is\n")
    assert all(len(text) == 3 and set(text) <= known for text in found["texts"].values())


def test_what_cannot_be_sampled_is_said_in_a_sentence(folder, sample):
    memory = open_workspace(folder).memory
    untrained = list(memory.individuals.values())[-1].model_copy(
        update={"status": Status.REFUSED, "trials": ()}
    )
    memory.record(untrained)
    for arguments, words in (
        (["base", "--prompt", "Zoe"], "of the data's own characters"),
        (["base", "--prompt", ""], "it is empty"),
        (["nobody"], "nobody"),
        ([untrained.id], "was never trained"),
    ):
        code, out, error = sample(*arguments)
        assert (code, "Traceback" in error, words in error) == (2, False, True), (arguments, out, error)
