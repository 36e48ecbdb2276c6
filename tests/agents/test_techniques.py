"""Every technique that ships: it applies to the ancestor and to drifted scripts, trains, leaks nothing, does what it
says (behaviours.py), and merges with most others. Without ``--exhaustive`` ten of them are trained."""

import ast
import itertools
import math
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from darwin.agents import edits, fingerprint, settings
from darwin.agents.errors import EditError
from darwin.agents.knowledge import FAMILIES, techniques
from tests.exhaustive import few

ALL = {technique.id: technique for technique in techniques()}
TRAINED = (
    *("qk-norm", "relu-squared", "larger-batch", "untied-head", "gated-mlp", "muon", "rotary-positions"),
    *("value-residual", "weight-averaging", "multi-token-loss"),
)
STACK = (
    *("muon", "rotary-positions", "token-shift", "qk-norm", "relu-squared", "value-residual", "untied-head"),
    *("weight-averaging", "growing-windows", "embedding-shortcut", "linear-to-zero", "zero-init-projections"),
)
PAIRS = [
    (a.id, b.id)
    for a, b in itertools.combinations(ALL.values(), 2)
    if a.family != b.family and a.id not in b.conflicts and b.id not in a.conflicts
]
Train = Callable[[Sequence[dict[str, str]], Sequence[Sequence[str]]], list[dict[str, Any]]]


def behaviour(id: str) -> str:
    return id.replace("-", "_")


@pytest.fixture(scope="module")
def after(base: dict[str, str]) -> dict[str, dict[str, str]]:
    """The ancestor with each technique's edits."""
    return {id: edits.apply(technique.edits, base) for id, technique in ALL.items()}


@pytest.fixture(scope="module")
def reports(
    train: Train, base: dict[str, str], after: dict[str, dict[str, str]], request: pytest.FixtureRequest
) -> dict[str, dict[str, Any]]:
    """What each technique's script does after three steps, and under "base" all behaviours tried on the ancestor;
    under "stack" what twelve of them do, one on the other."""
    trained = ALL if request.config.getoption("exhaustive") else TRAINED
    names = [behaviour(id) for id in trained]
    stack = base
    for id in STACK:
        stack = edits.apply(ALL[id].edits, stack)
    found = train([base, stack, *(after[id] for id in trained)], [names, [], *([name] for name in names)])
    return dict(zip(["base", "stack", *trained], found, strict=True))


def test_there_are_forty_of_all_families_and_thirty_with_edits() -> None:
    assert len(ALL) >= 40
    assert sum(bool(technique.edits) for technique in ALL.values()) >= 30
    assert {technique.family for technique in ALL.values()} == set(FAMILIES)


@pytest.mark.parametrize("id", ALL)
def test_it_changes_the_ancestor_into_python_that_a_person_would_write(
    id: str, base: dict[str, str], after: dict[str, dict[str, str]]
) -> None:
    assert fingerprint(after[id]) != fingerprint(base)
    for text in after[id].values():
        ast.parse(text)
        assert max(len(line) for line in text.splitlines()) <= 110


@pytest.mark.parametrize("id", few(ALL, *TRAINED))
def test_it_trains_to_a_finite_loss_that_falls(id: str, reports: dict[str, dict[str, Any]]) -> None:
    losses = reports[id].get("losses") or pytest.fail(reports[id].get("error", "no losses"))
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0] + 0.2


@pytest.mark.parametrize("id", few(ALL, *TRAINED))
def test_it_does_not_look_ahead_nor_at_its_batch_mates(id: str, reports: dict[str, dict[str, Any]]) -> None:
    report = reports[id]
    assert report["shape"] == [4, 64, 11]
    assert report["dtype"] == "torch.float32"
    assert report["past"] == 0
    assert report["future"] > 0.01
    assert report["alone"] < 1e-3
    assert report["earlier"] < 1e-3


@pytest.mark.parametrize("id", few(ALL, *TRAINED))
def test_it_does_what_it_says_and_the_ancestor_does_not(id: str, reports: dict[str, dict[str, Any]]) -> None:
    name = behaviour(id)
    assert reports[id]["behaviours"][name] is True, reports[id]["behaviours"][name]
    assert reports["base"]["behaviours"][name] is not True


def drifted(base: dict[str, str]) -> dict[str, str]:
    """The ancestor after other agents: lines moved down, a setting stepped, a comment and a function added."""
    train = settings.change(base["train.py"], "max_tokens", 1_000_000)
    train = train.replace("# The loop.\n", "# Where it starts.\nprint(device)\n\n# The loop.\n")
    model = base["model.py"].replace("@dataclass\n", "def unused() -> None:\n    pass\n\n\n@dataclass\n")
    return {"model.py": model, "train.py": train}


@pytest.mark.parametrize("id", ALL)
def test_it_applies_to_a_script_that_drifted_elsewhere(id: str, base: dict[str, str]) -> None:
    changed = edits.apply(ALL[id].edits, drifted(base))
    for name, text in changed.items():
        ast.parse(text)
        assert ("def unused" in text) == (name == "model.py")


@pytest.mark.parametrize("id", ALL)
def test_it_refuses_where_an_anchor_is_gone(id: str, base: dict[str, str]) -> None:
    last = ALL[id].edits[-1]
    without = {**base, last.file: base[last.file].replace(last.search, "")}
    before = dict(without)
    with pytest.raises(EditError, match="does not occur") as error:
        edits.apply(ALL[id].edits, without)
    assert error.value.file == last.file
    assert without == before


def test_on_top_of_another_it_applies_or_refuses(after: dict[str, dict[str, str]]) -> None:
    applied = []
    for one, two in [*PAIRS, *((two, one) for one, two in PAIRS)]:
        try:
            applied.append(edits.apply(ALL[two].edits, after[one]))
        except EditError:
            continue
    assert len(applied) / (2 * len(PAIRS)) >= 0.95
    for files in applied[::10]:
        for text in files.values():
            ast.parse(text)


def git(repository: Path, *words: str, given: str | None = None) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), *words], input=given, capture_output=True, text=True, check=True
    ).stdout


def committed(repository: Path, files: dict[str, str], *parents: str) -> str:
    """The id of a commit of these files."""
    lines = ""
    for name, text in files.items():
        blob = git(repository, "hash-object", "-w", "--stdin", given=text).strip()
        lines += f"100644 blob {blob}\t{name}\n"
    tree = git(repository, "mktree", given=lines).strip()
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@agents.invalid")
    on = [word for parent in parents for word in ("-p", parent)]
    return git(repository, *who, "commit-tree", "-m", "x", *on, tree).strip()


def test_most_pairs_of_different_families_merge(
    base: dict[str, str], after: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    git(tmp_path, "init", "--quiet")
    root = committed(tmp_path, base)
    commits = {id: committed(tmp_path, files, root) for id, files in after.items()}
    asked = "".join(f"{commits[a]} {commits[b]}\n" for a, b in PAIRS)
    answer = iter(
        git(tmp_path, "merge-tree", "--write-tree", "--no-messages", "--stdin", given=asked).split("\0")
    )
    trees = []
    for _ in PAIRS:  # clean or not, the tree, the conflicts' files, an empty word
        status, tree = next(answer), next(answer)
        for _ in iter(lambda: next(answer), ""):
            pass
        if status == "1":
            trees.append(tree)
    assert len(trees) / len(PAIRS) >= 0.9
    for tree in trees[::10]:
        for name in base:
            ast.parse(git(tmp_path, "show", f"{tree}:{name}"))


def test_a_deep_stack_trains(reports: dict[str, dict[str, Any]]) -> None:
    report = reports["stack"]
    assert report.get("error") is None
    assert report["past"] == 0
