"""Every technique that ships: it applies to the ancestor, trains, leaks nothing, and merges with most others."""

import ast
import itertools
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darwin.agents import edits, fingerprint
from darwin.agents.knowledge import Technique, techniques

ALL = {technique.id: technique for technique in techniques()}
Train = Callable[[list[dict[str, str]]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def reports(train: Train, base: dict[str, str]) -> dict[str, dict[str, Any]]:
    found = train([edits.apply(technique.edits, base) for technique in ALL.values()])
    return dict(zip(ALL, found, strict=True))


def test_there_are_at_least_fourteen_with_edits() -> None:
    assert sum(bool(technique.edits) for technique in ALL.values()) >= 14


@pytest.mark.parametrize("id", ALL)
def test_it_changes_the_ancestor(id: str, base: dict[str, str]) -> None:
    assert fingerprint(edits.apply(ALL[id].edits, base)) != fingerprint(base)


@pytest.mark.parametrize("id", ALL)
def test_it_trains_to_a_finite_loss_that_falls(id: str, reports: dict[str, dict[str, Any]]) -> None:
    losses = reports[id].get("losses") or pytest.fail(reports[id].get("error", "no losses"))
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0] + 0.2


@pytest.mark.parametrize("id", ALL)
def test_it_does_not_look_ahead_nor_at_its_batch_mates(id: str, reports: dict[str, dict[str, Any]]) -> None:
    report = reports[id]
    assert report["shape"] == [4, 64, 11]
    assert report["dtype"] == "torch.float32"
    assert report["past"] == 0
    assert report["future"] > 0.01
    assert report["alone"] < 1e-3
    assert report["earlier"] < 1e-3


def merged(folder: Path, ours: dict[str, str], base: dict[str, str], theirs: dict[str, str]) -> bool:
    """Whether git merges the two without a conflict, into Python."""
    for name in base:
        if base[name] in (ours[name], theirs[name]):
            continue  # only one side changed it
        for side, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            (folder / side).write_text(text[name], encoding="utf-8")
        run = ["git", "merge-file", "-p", "ours", "base", "theirs"]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            return False
        ast.parse(done.stdout)
    return True


def test_most_pairs_of_different_families_merge(base: dict[str, str], tmp_path: Path) -> None:
    after = {id: edits.apply(technique.edits, base) for id, technique in ALL.items()}

    def may_join(one: Technique, two: Technique) -> bool:
        return one.family != two.family and one.id not in two.conflicts and two.id not in one.conflicts

    pairs = [(a.id, b.id) for a, b in itertools.combinations(ALL.values(), 2) if may_join(a, b)]
    clean = sum(merged(tmp_path, after[a], base, after[b]) for a, b in pairs)
    assert clean / len(pairs) >= 0.9


def test_a_deep_stack_trains(base: dict[str, str], train: Train) -> None:
    files = base
    stack = [
        "muon",
        "rotary-positions",
        "token-shift",
        "qk-norm",
        "relu-squared",
        "value-residual",
        "untied-head",
    ]
    for id in [*stack, "embedding-shortcut", "linear-to-zero", "zero-init-projections"]:
        files = edits.apply(ALL[id].edits, files)
    (report,) = train([files])
    assert report.get("error") is None
    assert report["past"] == 0
