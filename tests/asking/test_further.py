"""A granted data set lies beside train.bin, is chosen by later children, and holds nothing that is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from darwin.agents import edits
from darwin.agents.errors import EditError
from darwin.agents.mixing import mixing
from darwin.agents.rules import fit
from darwin.begin import ANCESTOR
from darwin.errors import UsageError
from darwin.further import _checked, overlap, prepare, with_further
from darwin.loop import evolve
from darwin.memory.records import TrialStatus
from darwin.memory.requests import Kind, State, Wish
from darwin.sandbox import Dataset, Job, Limits
from darwin.sandbox.trials import run_trial
from tests.asking.conftest import wishing
from tests.people.test_everyday import darwin

POEMS = Wish(kind=Kind.DATASET, wanted="more text of the same kind", reason="the text is short")


@pytest.fixture
def poems(tmp_path: Path) -> Path:
    words = np.random.default_rng(7).choice(["to ", "be ", "not ", "is\n"], 3000)
    path = tmp_path / "My Poems.txt"
    path.write_text("".join(words) + "€")
    return path


def test_a_granted_data_set_is_offered_chosen_and_trained_on(
    asking, data, tmp_path, poems, sandbox, monkeypatch, capsys
):
    evolution, _ = asking(wishing(ada=POEMS, alan=POEMS))
    evolve(evolution, 1)
    (request,) = evolution.memory.requests.values()
    assert request.askers and set(request.askers) == {"Ada", "Alan"}
    assert darwin(monkeypatch, "requests", "grant", "dataset", "-C", tmp_path / "w") == 2
    assert "--use FILE_OR_FOLDER" in " ".join(capsys.readouterr().err.split())
    assert darwin(monkeypatch, "requests", "grant", "dataset", "--use", poems, "-C", tmp_path / "w") == 0

    def choosing(task, proposal):
        try:
            return replace(proposal, files=edits.apply(mixing(task.data)[0].edits, proposal.files))
        except EditError:
            return proposal

    evolution, tasks = asking(choosing)
    evolve(evolution, 2)
    assert tasks and all(task.data == ("my_poems",) for task in tasks)
    lacking = [task for task in tasks if "my_poems" not in task.files["train.py"]]
    assert all("data-my-poems" in {t.id for t in fit(task)} for task in lacking)
    users = [i for i in evolution.memory.individuals.values() if request.id in i.requests]
    assert users and all(i.generation == 2 for i in users)
    assert "my_poems.bin lies beside train.bin" in tasks[0].requests[0]

    dataset = with_further(Dataset.load(data), evolution.memory.requests)
    assert len(dataset.further["my_poems"]) == len(poems.read_text()) - 1, (
        "the one unknown character is left out"
    )
    files = {name: (ANCESTOR / name).read_bytes() for name in ("genome.toml", "model.py", "train.py")}
    both = edits.apply(mixing(["my_poems"])[0].edits, {"train.py": files["train.py"].decode()})
    job = Job("x", {**files, "train.py": both["train.py"].encode()}, 1, 1536, "1536tok")
    trial = run_trial(job, dataset, sandbox, 1e11, Limits())
    alone = run_trial(job, Dataset.load(data), sandbox, 1e11, Limits())
    assert (trial.status, trial.error) == (TrialStatus.OK, None)
    assert alone.status is TrialStatus.CRASHED and "my_poems.bin" in alone.error


def test_text_that_scripts_are_judged_on_is_refused(data, tmp_path, poems):
    dataset = Dataset.load(data)
    chars = dataset.meta["chars"]
    judged = "".join(chars[t] for t in dataset.splits["val"][100:400])
    (tmp_path / "copied.txt").write_text(poems.read_text() + judged)
    with pytest.raises(UsageError, match="of the windows of the val split"):
        prepare(tmp_path / "copied.txt", dataset, 64)
    (tmp_path / "odd.txt").write_text("ж" * 500)
    with pytest.raises(UsageError, match="no token for 100%"):
        prepare(tmp_path / "odd.txt", dataset, 64)
    (tmp_path / "train.txt").write_text(poems.read_text())
    with pytest.raises(UsageError, match="by what it holds"):
        prepare(tmp_path / "train.txt", dataset, 64)


@pytest.mark.parametrize("width", [1, 3, 8, 13, 64])
def test_overlap_counts_equal_windows(width):
    rng = np.random.default_rng(width)
    one = rng.integers(0, 3, 400).astype(np.uint16)
    other = np.concatenate([rng.integers(0, 3, 200), one[50:180], rng.integers(0, 3, 50)]).astype(np.uint16)
    windows = {tuple(other[i : i + width]) for i in range(len(other) - width + 1)}
    mine = [tuple(one[i : i + width]) for i in range(len(one) - width + 1)]
    assert overlap(one, other, width) == pytest.approx(sum(w in windows for w in mine) / len(mine))


def test_a_data_set_that_is_gone_is_named_at_the_start(asking, data, tmp_path, poems, monkeypatch):
    evolution, _ = asking(wishing(ada=POEMS))
    evolve(evolution, 1)
    assert darwin(monkeypatch, "requests", "grant", "dataset", "--use", poems, "-C", tmp_path / "w") == 0
    evolution, _ = asking(wishing())
    (request,) = evolution.memory.requests.values()
    assert request.state is State.DONE
    Path(request.ruling.folder, "tokens.bin").write_bytes(b"xx")
    _checked.cache_clear()
    with pytest.raises(UsageError, match="is gone or changed"):
        asking(wishing())
