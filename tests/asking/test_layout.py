"""A granted layout is a commit that gives the same losses first; then children build on it."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from darwin.agents import edits
from darwin.agents.knowledge import techniques
from darwin.begin import ANCESTOR
from darwin.errors import UsageError
from darwin.genome import evolvable, extended
from darwin.layout import Move
from darwin.loop import evolve
from darwin.memory.records import Trial, TrialStatus, perplexity
from darwin.memory.requests import Kind, State, Wish
from darwin.sandbox import Dataset, Job, Limits
from darwin.sandbox.trials import run_trial
from tests.asking.conftest import wishing
from tests.people.test_everyday import darwin

PARTS = "GPTConfig, Norm, Positions, Attention, activation, MLP, Block"
WISH = Wish(kind=Kind.LAYOUT, wanted=f"{PARTS} from model.py to blocks.py", reason="model.py is long")
BASE = {name: (ANCESTOR / name).read_text() for name in ("model.py", "train.py")}


def by_code(jobs):
    """Trials whose loss is a function of the lines of code, wherever they stand."""
    for job in jobs:
        text = b"\n".join(data for path, data in sorted(job.files.items()) if path.endswith(".py")).decode()
        own = {x.strip() for x in text.splitlines() if not x.startswith(("import", "from", '"""'))}
        lines = sorted(own - {""})
        known = {x.strip() for x in "\n".join(BASE.values()).splitlines()}
        loss = 2.2 + math.fsum(random.Random(x).uniform(-0.03, 0.02) for x in lines if x not in known)
        loss += random.Random(job.seed).gauss(0, 0.005)
        for split in (job.split, *job.further):
            yield job, Trial(
                seed=job.seed, split=split, budget=job.budget, tokens=job.tokens or 1, loss=loss,
                perplexity=perplexity(loss), mfu=0.5, cpu_seconds=1.0,
            )  # fmt: skip


def laid_out(asking, tmp_path, monkeypatch, evaluate):
    """A run in which the layout was asked for and granted, and the generation after."""
    evolution, _ = asking(wishing(ada=WISH))
    evolution.evaluate = by_code
    evolve(evolution, 1)
    assert darwin(monkeypatch, "requests", "grant", "layout", "-C", tmp_path / "w") == 0
    evolution, tasks = asking(wishing())
    evolution.evaluate = evaluate
    evolve(evolution, 3)
    (request,) = evolution.memory.requests.values()
    return evolution, tasks, request


def test_a_layout_with_the_same_losses_takes_its_parents_place_and_has_children(
    asking, tmp_path, monkeypatch
):
    evolution, tasks, request = laid_out(asking, tmp_path, monkeypatch, by_code)
    people, lineage = evolution.memory.individuals, evolution.workspace.lineage
    moved = next(i for i in people.values() if i.operator == "layout")
    assert request.state is State.DONE and moved.id in request.outcome and "the same loss" in request.outcome
    assert moved.loss == people[moved.parents[0]].loss and moved.owner in evolution.run.population
    assert "blocks.py" in evolvable(lineage.files(moved.commit))
    assert "Asked for by Ada, granted by Eve" in lineage.repo.git.log("-1", "--format=%b", moved.commit)
    children = [i for i in people.values() if moved.id in i.parents]
    assert children and all("blocks.py" in evolvable(lineage.files(i.commit)) for i in children)
    assert any("blocks.py" in task.files for task in tasks)
    assert any("granted" in line and moved.id in line for line in tasks[-1].requests)


def test_a_layout_that_changes_a_loss_is_kept_out(asking, tmp_path, monkeypatch):
    def other(jobs):
        for job, trial in by_code(jobs):
            shift = 1e-6 * job.label.startswith("layout")
            yield job, trial.model_copy(update={"loss": trial.loss + shift})

    evolution, _, request = laid_out(asking, tmp_path, monkeypatch, other)
    people = evolution.memory.individuals
    moved = next(i for i in people.values() if i.operator == "layout")
    assert request.state is State.FAILED and "does not give the losses" in request.outcome
    assert moved.id not in evolution.run.population.values()
    assert not [i for i in people.values() if moved.id in i.parents]


def test_a_layout_that_fits_no_script_says_why(asking, tmp_path, monkeypatch):
    evolution, _ = asking(wishing(ada=WISH.model_copy(update={"wanted": "batch from train.py to data.py"})))
    evolve(evolution, 1)
    assert darwin(monkeypatch, "requests", "grant", "layout", "-C", tmp_path / "w") == 0
    evolution, _ = asking(wishing())
    evolve(evolution, 2)
    (request,) = evolution.memory.requests.values()
    assert request.state is State.FAILED and "stays in train.py" in request.outcome


def test_what_is_moved_is_whole_and_ideas_find_it_in_its_new_file():
    files = Move.parse(WISH.wanted).applied(BASE)
    assert "# Norm: LayerNorm" in files["blocks.py"] and "# Norm: LayerNorm" not in files["model.py"]
    assert "class GPT(" in files["model.py"] and "from blocks import GPTConfig, Norm" in files["model.py"]
    technique = next(t for t in techniques() if t.id == "relu-squared")
    assert edits.apply(technique.edits, files)["blocks.py"] != files["blocks.py"]
    with pytest.raises(UsageError, match="is there already"):
        Move.parse(WISH.wanted).applied({**BASE, "blocks.py": ""})


def test_a_layout_of_the_base_trains_to_the_same_loss_to_the_last_bit(data: Path, sandbox):
    files = {name: (ANCESTOR / name).read_bytes() for name in ("genome.toml", "model.py", "train.py")}
    moved = {name: text.encode() for name, text in Move.parse(WISH.wanted).applied(BASE).items()}
    dataset = Dataset.load(data)
    trials = [
        run_trial(Job("x", genome, 1, 3072, "3072tok"), dataset, sandbox, 1e11, Limits())
        for genome in (files, extended({**files, **moved}, ["blocks.py"]))
    ]
    assert [t.status for t in trials] == [TrialStatus.OK] * 2 and trials[0].loss == trials[1].loss
