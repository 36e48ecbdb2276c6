"""A script of one's own: adopted as it is, evolved, and taken home as a patch. What cannot be worked out is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from darwin import adapter, cli
from darwin.adoption import draft
from darwin.errors import UsageError
from darwin.export import patch
from darwin.loop import evolve
from darwin.origin import ADAPTER, origin_in
from darwin.sandbox import Contract, Dataset, Job, Limits
from darwin.sandbox.trials import run_smoke
from darwin.workspace import open_workspace
from tests.evolve.laboratory import start
from tests.people import own_repository
from tests.people.own_repository import FILES, SCRIPT, git, make


@pytest.fixture
def darwin(warm, monkeypatch, capsys, tmp_path):
    """``darwin(...)`` in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["darwin", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files of a folder, git's own too, with the time of their last change."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def facts(files: dict[str, bytes]) -> dict[str, object]:
    """The capitals of a drafted adapter."""
    names: dict[str, object] = {"__file__": ADAPTER, "__name__": "drafted"}
    block = files[ADAPTER].decode().partition("# found: begin")[2].partition("# found: end")[0]
    exec("from typing import Any\n" + block, names)
    return {name: value for name, value in names.items() if name.isupper()}


def test_a_repository_in_a_style_of_its_own_is_adopted_evolves_and_its_patch_applies(
    darwin, sandbox, tmp_path
):
    mine = make(tmp_path / "home/project")
    before = everything(mine)
    code, out, error = darwin(
        "init", "--from", "home/project", "--agents", "rules:4", "--budget", "4ktok", "--sandbox", "process"
    )
    assert (code, error) == (0, ""), error
    assert everything(mine) == before, "nothing in the person's folder was touched"
    for words in (
        "started as: python pretrain.py", "in steps of batch_size x context_length", "decay_steps follows it",
        f"commit {git(mine, 'rev-parse', 'HEAD')[:10]}", "passed       seed", "passed       training",
        "passed       future", "passed       length",
    ):  # fmt: skip
        assert words in out, words

    opened = open_workspace(tmp_path / "evolution")
    base = opened.lineage.files(opened.memory.resolve("base").commit)
    assert {path: base[path].decode() for path in base if path in FILES} == {
        path: FILES[path] for path in ("pretrain.py", "nets/__init__.py", "nets/lm.py", "nets/parts.py")
    }
    data = Dataset.load(Path(opened.config.data))
    own = (mine / "corpora/play/val.bin").read_bytes()
    assert data.splits["val"].tobytes() + data.splits["test"].tobytes() == own, (
        "its own validation tokens judge it"
    )

    evolution = start(tmp_path / "evolution", Path(opened.config.data), budget="4ktok", agents="rules:4")
    evolve(evolution, 2)
    memory, lineage = evolution.memory, evolution.workspace.lineage
    children = [i for i in memory.individuals.values() if i.author and i.status == "trained"]
    assert children and all(i.settings or i.parents[1:] for i in children)
    chosen = max(children, key=lambda i: len(patch(lineage, memory.resolve("base"), i)))

    trial = run_smoke(Job("child", lineage.files(chosen.commit), 5, None, "4ktok"), data, sandbox, Limits())
    assert trial.status == "ok", trial.error

    code, text, error = darwin("export", chosen.id, "--patch")
    assert (code, error) == (
        0,
        f"It applies to commit {origin_in(base).commit[:10]} of {mine}: git apply better.patch\n",
    )
    again = tmp_path / "again"
    git(tmp_path, "clone", "-q", str(mine), str(again))
    git(again, "checkout", "-q", origin_in(base).commit)
    (tmp_path / "better.patch").write_text(text)
    git(again, "apply", "--index", str(tmp_path / "better.patch"))
    after = lineage.files(chosen.commit)
    assert all((again / path).read_bytes() == after[path] for path in after if path in FILES)
    assert git(again, "diff", "--cached", "--name-only")


def test_an_exported_folder_trains_where_its_owner_runs_it_and_its_files_stay(darwin, tmp_path):
    made = draft(make(tmp_path / "mine", repository=False))
    folder = tmp_path / "better"
    for path, text in made.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)
    shared = tmp_path / "data"
    shared.mkdir()
    (shared / "train.bin").write_bytes((tmp_path / "mine/corpora/play/train.bin").read_bytes())
    (shared / "meta.json").write_text(json.dumps({"kind": "tokens", "vocab_size": 24}))
    contract = Contract.parse(made.files["genome.toml"].decode())
    words = contract.arguments(seed=1, tokens=2048, device="cpu")
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0: " in done.stdout and (tmp_path / "out/ckpt.pt").is_file()
    assert all((folder / path).read_bytes() == text for path, text in made.files.items())


STOCK = {
    "train.py": """\
import os
import pickle
import torch
import numpy as np
from model import GPT, GPTConfig
out_dir = 'out'
eval_interval = 2000
eval_iters = 200
wandb_log = False
dataset = 'openwebtext'
gradient_accumulation_steps = 5 * 8
batch_size = 12
block_size = 1024
max_iters = 600000
lr_decay_iters = 600000
device = 'cuda'
compile = True
exec(open('configurator.py').read())
torch.manual_seed(1337)
data_dir = os.path.join('data', dataset)
def get_batch(split):
    data = np.memmap(os.path.join(data_dir, f'{split}.bin'), dtype=np.uint16, mode='r')
meta_path = os.path.join(data_dir, 'meta.pkl')
model = GPT(GPTConfig())
loss.backward()
""",
    "model.py": "class GPTConfig:\n    block_size: int = 1024\nclass GPT: pass\n",
    "sample.py": "print('hello')\n",
    "configurator.py": "import sys\n",
    "config/small.py": "dataset = 'play'\ngradient_accumulation_steps = 1\nbatch_size = 64\nblock_size = 256\n"
    "max_iters = 5000\nlr_decay_iters = 5000 # as max_iters\neval_iters = 200\nlearning_rate = 1e-3\n",
}


def test_nanogpts_manner_is_understood_with_its_configuration_file(tmp_path):
    made = draft(
        make(tmp_path / "n", files=STOCK, repository=False), "python train.py config/small.py --device=mps"
    )
    found = facts(made.files)
    assert made.problems == []
    assert found["OPTIONS"] == ["config/small.py", "--device=mps"]
    assert found["LENGTH"] == ["max_iters", "lr_decay_iters"]
    assert found["PER_STEP"] == ["batch_size", "block_size", "gradient_accumulation_steps"]
    assert found["ALWAYS"] == {"eval_interval": 1_000_000_000, "eval_iters": 1, "compile": False}
    assert found["TOKENS"] == {"data/play/train.bin": "train", "data/play/val.bin": "val"}
    assert (found["META"], found["DEVICE"], found["SEED"]) == (["data/play/meta.pkl"], ["device"], [])
    contract = Contract.parse(made.files["genome.toml"].decode())
    assert (contract.context, contract.load) == (256, "darwin_trial:load")
    assert contract.files == ("train.py", "model.py", "config/small.py")
    assert set(made.files) == {*contract.files, "configurator.py", "genome.toml", ADAPTER}
    assert contract.settings_set_by_trial >= {"max_iters", "lr_decay_iters", "device", "eval_iters"}
    options = adapter.options_with(found["OPTIONS"], {"device": "cpu", "max_iters": 7}, STOCK)
    assert options == ["config/small.py", "--device=cpu", "--max_iters=7"]


def test_options_of_a_command_line_are_settings_like_others(tmp_path):
    source = """\
import argparse, torch
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", default="data/books")
parser.add_argument("--num-steps", type=int, default=1000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--batch-size", "-b", type=int, default=(
    4 * 8))
parser.add_argument("--seq-len", type=int, default=128)
args = parser.parse_args()
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
train = Path(args.data_dir) / "train.bin"
loss.backward()
"""
    made = draft(make(tmp_path / "n", files={"src/run.py": source}, repository=False))
    found = facts(made.files)
    assert (found["SCRIPT"], made.problems) == ("src/run.py", [])
    assert (found["LENGTH"], found["PER_STEP"], found["SEED"]) == (
        ["num_steps"],
        ["batch_size", "seq_len"],
        ["seed"],
    )
    assert found["TOKENS"] == {"data/books/train.bin": "train"}
    assert adapter.in_force({"src/run.py": source}, "src/run.py", ["--num-steps", "20"])["batch_size"] == 32
    changed = adapter.with_values(source, {"num_steps": 5, "batch_size": 2, "device": "mps"})
    assert "torch.device(('mps'))" in changed and found["DEVICE"] == ["device"]
    assert len(changed.splitlines()) == len(source.splitlines())
    known = adapter.in_force({"src/run.py": changed}, "src/run.py", [])
    assert (known["num_steps"], known["batch_size"], known["seq_len"]) == (5, 2, 128)


LENGTH = "iterations, batch_size = 4_000, 8"
PROBLEMS = {
    "epochs": (LENGTH, "epochs, batch_size = 3, 8", "pretrain.py, line 11 counts epochs"),
    "no length": (LENGTH, "batch_size = 8", "No setting ends the training after a number of steps"),
    "no window": ("context_length = 16", "look_back = 16", "The length of a window was not found"),
    "no batch": (LENGTH, "iterations = 4_000", "write its name to PER_STEP in darwin_trial.py, line"),
    "a text": ('f"{which}.bin"', '"input.txt"', "it reads corpora/play/input.txt"),
    "a far place": (
        '"corpora", corpus',
        '"/srv/tokens", corpus',
        "reads /srv/tokens/play/train.bin, which no trial",
    ),
    "a package": (
        "import math\n",
        "import math\nimport tqdm.auto\n",
        "pretrain.py, line 3 imports tqdm.auto",
    ),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_cannot_be_worked_out_is_a_sentence_and_a_draft_to_edit(darwin, tmp_path, kind):
    old, new, words = PROBLEMS[kind]
    assert old in SCRIPT
    mine = make(tmp_path / "mine", files={**FILES, "pretrain.py": SCRIPT.replace(old, new)}, repository=False)
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 900)
    before = everything(mine)
    code, out, error = darwin("init", "--from", "mine", "--text", "text.txt", "-C", "night")
    assert (code, len(error.splitlines()), "The draft is night-draft/" in error) == (2, 1, True), error
    assert any(line.startswith("To do: ") and words in line for line in out.splitlines()), out
    kept = tmp_path / "night-draft"
    assert (kept / "genome.toml").is_file() and not (tmp_path / "night").exists()
    marked = [
        path.name for path in kept.iterdir() if path.is_file() and "# EDIT: not found" in path.read_text()
    ]
    expected = {
        "epochs": [ADAPTER],
        "no length": [ADAPTER],
        "a text": [ADAPTER],
        "no window": ["genome.toml"],
    }
    assert marked == expected.get(kind, [])
    assert everything(mine) == before
    assert darwin("init", "--from", "mine", "--text", "nowhere.txt", "-C", "night")[0] == 2
    assert len(list(tmp_path.glob("night*"))) == 1, "what is wrong with the data leaves no draft"


def test_a_script_that_does_not_run_is_said_with_its_last_lines_and_the_draft_is_kept(darwin, tmp_path):
    broken = SCRIPT.replace(
        "    torch.manual_seed(1337)\n", "    torch.manual_seed(1337)\n    print(undefined)\n"
    )
    make(tmp_path / "mine", files={**FILES, "pretrain.py": broken}, repository=False)
    code, out, error = darwin("init", "--from", "mine", "--sandbox", "process")
    assert code == 2 and "FAILED       smoke        It ended with exit code 1." in out
    line = broken.splitlines().index("    print(undefined)") + 1
    assert f'File "pretrain.py", line {line}, in main' in error and "NameError: name 'undefined'" in error
    assert "The draft is evolution-draft/: edit it, then darwin init --genome evolution-draft" in error
    assert (tmp_path / "evolution-draft/pretrain.py").read_text() == broken


def test_a_script_that_trains_as_long_whatever_it_is_told_is_refused(darwin, tmp_path):
    deaf = SCRIPT.replace("range(iterations)", "range(200)")
    make(tmp_path / "mine", files={**FILES, "pretrain.py": deaf}, repository=False)
    code, out, error = darwin("init", "--from", "mine", "--sandbox", "process")
    assert code == 2 and "FAILED       length" in out and not (tmp_path / "evolution").exists()
    assert "It trains as long whatever a trial says: LENGTH in darwin_trial.py is not what ends it." in error


MISTAKES = {
    "no folder": (["--from", "nowhere"], "there is no such folder"),
    "nothing that trains": (["--from", "empty"], "none calls backward()"),
    "two that train": (["--from", "two"], '--train "python a.py"'),
    "another script": (["--from", "two", "--train", "python c.py"], "there is no c.py"),
    "a genome": (["--from", "genome"], "darwin init --genome genome"),
    "train alone": (["--train", "python a.py"], "Give both"),
    "both": (["--from", "two", "--genome", "genome"], "Give one of them"),
    "no command": (["--from", "two", "--train", "python 'a.py"], "cannot be split into words"),
    "no Python": (["--from", "broken", "--train", "python a.py"], "a.py, line 1 is no Python"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_folder_that_will_not_do_is_refused_in_a_sentence(darwin, tmp_path, kind):
    for path, text in (
        ("empty/a.py", "print()"), ("two/a.py", "loss.backward()"), ("two/b.py", "loss.backward()"),
        ("genome/genome.toml", ""), ("broken/a.py", "def"),
    ):  # fmt: skip
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    arguments, words = MISTAKES[kind]
    code, _, error = darwin("init", *arguments)
    assert (code, len(error.splitlines()), words in error) == (2, 1, True), error
    assert sorted(tmp_path.rglob("*")) == before


def test_where_it_came_from_is_recorded_and_what_is_not_as_committed_is_said(tmp_path):
    mine = make(tmp_path / "whole/inner")
    head = git(mine, "rev-parse", "HEAD")
    assert origin_in(draft(mine).files).commit == head
    (mine / "nets/parts.py").write_text(own_repository.PARTS + "# mine\n")
    made = draft(mine)
    assert any("nets/parts.py is not as committed" in one for one in made.said)
    assert (origin_in(made.files).commit, origin_in(made.files).folder) == ("", str(mine))
    plain = make(tmp_path / "plain", repository=False)
    assert (
        any("no git repository" in one for one in draft(plain).said) and "scratch.py" not in draft(mine).files
    )
    with pytest.raises(UsageError, match="3 scripts in"):
        draft(make(tmp_path / "more", repository=False, files={**FILES, "finetrain.py": SCRIPT}))
