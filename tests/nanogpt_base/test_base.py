"""The ancestor: reproducible, paired by seed, plain in its refusals, and what its contract says."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.exhaustive import few

BASE = Path(__file__).parents[2] / "nanogpt_base"
SMALL = ["--n_layer=1", "--n_embd=32", "--block_size=16", "--batch_size=4", "--max_tokens=512"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    np.random.default_rng(0).integers(11, size=3_000, dtype=np.uint16).tofile(folder / "train.bin")
    (folder / "meta.json").write_text(json.dumps({"vocab_size": 11}))
    return folder


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=BASE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


TWICE = """
import runpy
import sys

out, *options = sys.argv[1:]
for name, seed in (("other", 8), ("again", 7)):
    sys.argv = ["train.py", f"--out_dir={out}/{name}", f"--seed={seed}", *options]
    runpy.run_path("train.py", run_name="__main__")
"""


def test_one_thread_and_one_seed_repeat_to_the_bit(data: Path, tmp_path: Path) -> None:
    """Also after a run of another seed in the same process."""
    options = (f"--data_dir={data}", *SMALL, "--dropout=0.1")
    alone = python("train.py", f"--out_dir={tmp_path / 'one'}", "--seed=7", *options)
    twice = python("-c", TWICE, str(tmp_path), *options)
    assert (alone.returncode, twice.returncode) == (0, 0), alone.stderr + twice.stderr

    def written(name: str) -> tuple[str, list[str]]:
        out = tmp_path / name
        checkpoint = hashlib.sha256((out / "ckpt.pt").read_bytes()).hexdigest()
        return checkpoint, (out / "metrics.jsonl").read_text().splitlines()

    one = written("one")
    assert one == written("again")
    assert one[0] != written("other")[0]
    first, last = json.loads(one[1][0]), json.loads(one[1][-1])
    assert first.keys() == {"step", "tokens", "loss"}
    assert (first["step"], first["tokens"], last["step"], last["tokens"]) == (1, 64, 8, 512)


REFUSED = {
    "--lr=1": 'train.py does not know "--lr=1". Write --name=value, name one of data_dir, out_dir, seed, ',
    "--n_layer=two": 'n_layer is of type int, which "two" is not.',
}


@pytest.mark.parametrize("argument", few(REFUSED, "--lr=1"))
def test_an_unknown_setting_is_refused_with_a_sentence(argument: str) -> None:
    done = python("train.py", argument)
    assert done.returncode == 1
    assert done.stderr.startswith(REFUSED[argument])
    assert len(done.stderr.splitlines()) == 1


CHECKS = """
import sys
import torch
import model

def made(seed, **more):
    fields = dict(vocab_size=11, block_size=16, n_layer=2, n_head=4, n_embd=32, mlp_width=64, dropout=0.0)
    gpt = model.GPT(model.GPTConfig(**(fields | more)))
    model.initialise(gpt, seed)
    return gpt

# equal seeds give equal matrices, whatever else is in the model
one, two, other = made(1), made(1, n_layer=3), made(2)
assert torch.equal(one.blocks[0].mlp.up.weight, two.blocks[0].mlp.up.weight)
assert torch.equal(one.embed.weight, two.embed.weight)
assert not torch.equal(one.embed.weight, other.embed.weight)
assert not torch.equal(one.blocks[0].mlp.up.weight, one.blocks[1].mlp.up.weight)

# logits are float, shaped, causal, and those of the saved model
for parameter in one.parameters():
    parameter.data += 0.3 * torch.randn(parameter.shape)
torch.save({"config": vars(one.config), "model": one.state_dict()}, sys.argv[1])
logits = model.load(sys.argv[1], "cpu")
tokens = torch.randint(11, (3, 16))
changed = tokens.clone()
changed[:, 9:] = (changed[:, 9:] + 1) % 11
before, after = logits(tokens), logits(changed)
assert before.shape == (3, 16, 11) and before.dtype == torch.float32 and not before.requires_grad
assert torch.equal(before[:, :9], after[:, :9]) and not torch.equal(before[:, 9:], after[:, 9:])
assert torch.equal(before, one(tokens).detach())
"""


def test_the_model_keeps_its_promises(tmp_path: Path) -> None:
    done = python("-c", CHECKS, str(tmp_path / "ckpt.pt"))
    assert done.returncode == 0, done.stderr


def test_the_contract_names_files_that_exist() -> None:
    contract = tomllib.loads((BASE / "genome.toml").read_text())
    assert all((BASE / name).is_file() for name in contract["genome"]["files"])
    assert contract["model"] == {"load": "model:load", "context": 64}
    assert "{tokens}" in contract["genome"]["train"]


def test_a_comment_stands_between_any_two_settings() -> None:
    lines = (BASE / "train.py").read_text().splitlines()
    settings = [
        number for number, line in enumerate(lines) if line[:1].islower() and " = " in line and number < 70
    ]
    assert len(settings) > 15
    assert all(lines[number - 1].startswith("#") for number in settings)


def test_it_is_short() -> None:
    assert sum(len((BASE / name).read_text().splitlines()) for name in ("model.py", "train.py")) < 400
