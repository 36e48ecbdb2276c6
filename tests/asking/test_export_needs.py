"""A script taken home brings what people had granted it: packages by their hashes, data sets, and how to use both."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from darwin import needs
from darwin.agents import edits
from darwin.agents.mixing import mixing
from darwin.begin import ANCESTOR
from darwin.further import _checked
from darwin.loop import evolve
from darwin.memory.requests import Asking, Kind, Request, Ruling, State, Wish
from darwin.workspace import open_workspace
from tests.asking.conftest import wishing
from tests.people.test_everyday import darwin

POEMS = Wish(kind=Kind.DATASET, wanted="more text of the same kind", reason="the text is short")
LOCK = ("einops==0.8.1 --hash=sha256:" + "a" * 64, "opt-einsum==3.4.0 --hash=sha256:" + "b" * 64)


@pytest.fixture
def user(asking, tmp_path, monkeypatch):
    """A script that trains on a granted data set, in an image with granted packages (which this record says)."""
    poems = tmp_path / "poems.txt"
    poems.write_text("".join(np.random.default_rng(7).choice(["to ", "be ", "not ", "is\n"], 3000)))
    evolution, _ = asking(wishing(ada=POEMS))
    evolve(evolution, 1)
    assert darwin(monkeypatch, "requests", "grant", "dataset", "--use", poems, "-C", tmp_path / "w") == 0
    base = {name: (ANCESTOR / name).read_text() for name in ("model.py", "train.py")}
    evolution, _ = asking(
        lambda task, proposal: replace(
            proposal,
            files={**base, **edits.apply(mixing(["poems"])[0].edits, {"train.py": base["train.py"]})},
        )
    )
    evolve(evolution, 2)
    memory = evolution.memory
    asked = Asking(agent="Ada", child="g001-ada-1", ordinal=1, reason="shorter code")
    ruling = Ruling(request="package-einops", number=1, state=State.GRANTED, by="Eve", lock=LOCK)
    memory.record(
        Request(
            id="package-einops", kind=Kind.PACKAGE, wanted="einops", state=State.DONE, askings=(asked,),
            rulings=(ruling,),
        )
    )  # fmt: skip
    user = next(i for i in memory.individuals.values() if i.requests)
    trials = tuple(t.model_copy(update={"packages": "0123456789abcdef"}) for t in user.trials)
    memory.record(user.model_copy(update={"trials": trials}))
    return user.id


def test_an_exported_folder_brings_what_was_granted_and_runs(user, data, tmp_path, monkeypatch):
    home = tmp_path / "home" / "script"
    assert darwin(monkeypatch, "export", user, home, "-C", tmp_path / "w") == 0
    assert (home / "requirements.txt").read_text().splitlines() == list(LOCK)
    request = next(
        r for r in open_workspace(tmp_path / "w").memory.requests.values() if r.kind is Kind.DATASET
    )
    copied = (home / "granted" / "poems.bin").read_bytes()
    assert hashlib.sha256(copied).hexdigest() == request.rulings[-1].digest
    told = (home / "DARWIN.md").read_text()
    assert "pip install --no-deps --require-hashes -r requirements.txt" in told

    shutil.copytree(data, tmp_path / "home" / "data")
    commands = [line.strip() for line in told.splitlines() if line.startswith("    ")]
    assert [c.split()[0] for c in commands] == ["pip", "cp", "python"]
    subprocess.run(commands[1], shell=True, cwd=home, check=True)
    train = [sys.executable, *commands[2].split()[1:], "--max_tokens=1536"]
    subprocess.run(train, cwd=home, check=True, capture_output=True)
    (tmp_path / "home" / "data" / "poems.bin").unlink()
    lacking = subprocess.run(train, cwd=home, check=False, capture_output=True, text=True)
    assert lacking.returncode and "poems.bin" in lacking.stderr, "it did train on it"


def test_a_large_data_set_is_named_with_its_command_and_one_that_is_gone_is_named_too(
    user, tmp_path, monkeypatch
):
    memory = open_workspace(tmp_path / "w").memory
    request = next(r for r in memory.requests.values() if r.kind is Kind.DATASET)
    source = needs.file_of(request)
    monkeypatch.setattr(needs, "MOST_COPIED", 100)
    assert darwin(monkeypatch, "export", user, tmp_path / "large", "-C", tmp_path / "w") == 0
    assert f"cp {source} ../data/poems.bin" in (tmp_path / "large" / "DARWIN.md").read_text()
    assert not (tmp_path / "large" / "granted").exists()
    source.unlink()
    _checked.cache_clear()
    assert darwin(monkeypatch, "export", user, tmp_path / "gone", "-C", tmp_path / "w") == 0
    assert f"could not come along: {source}" in (tmp_path / "gone" / "DARWIN.md").read_text()


def test_a_patch_says_what_it_lacks_and_a_script_that_needs_nothing_says_nothing(
    user, tmp_path, monkeypatch, capfd
):
    assert darwin(monkeypatch, "export", user, "--patch", "-C", tmp_path / "w") == 0
    patch, told = capfd.readouterr()
    assert patch.startswith("diff --git")
    assert (
        f"lacks einops==0.8.1, opt-einsum==3.4.0, poems.bin, which people granted: darwin export {user}"
        in told
    )
    assert darwin(monkeypatch, "export", "base", "--patch", "-C", tmp_path / "w") == 0
    assert "lacks" not in capfd.readouterr().err
    assert darwin(monkeypatch, "export", "base", tmp_path / "plain", "-C", tmp_path / "w") == 0
    assert not {"requirements.txt", "granted"} & {p.name for p in (tmp_path / "plain").iterdir()}
