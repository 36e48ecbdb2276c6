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

BASE = Path(__file__).parents[2] / "nanogpt_base"
SMALL = ["--n_layer=1", "--n_embd=32", "--block_size=16", "--batch_size=4", "--max_tokens=512"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    np.random.default_rng(0).integers(11, size=3_000, dtype=np.uint16).tofile(folder / "train.bin")
    (folder / "meta.json").write_text(json.dumps({"vocab_size": 11}))
    return folder


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "train.py", *arguments],
        cwd=BASE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_one_thread_and_one_seed_repeat_to_the_bit(data: Path, tmp_path: Path) -> None:
    def trained(out: Path, *more: str) -> tuple[str, list[str]]:
        done = run(f"--data_dir={data}", f"--out_dir={out}", *SMALL, "--dropout=0.1", *more)
        assert done.returncode == 0, done.stderr
        checkpoint = hashlib.sha256((out / "ckpt.pt").read_bytes()).hexdigest()
        return checkpoint, (out / "metrics.jsonl").read_text().splitlines()

    one = trained(tmp_path / "one", "--seed=7")
    assert one == trained(tmp_path / "two", "--seed=7")
    assert one[0] != trained(tmp_path / "three", "--seed=8")[0]
    first, last = json.loads(one[1][0]), json.loads(one[1][-1])
    assert first.keys() == {"step", "tokens", "loss"}
    assert (first["step"], first["tokens"], last["step"], last["tokens"]) == (1, 64, 8, 512)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        (
            "--lr=1",
            'train.py does not know "--lr=1". Write --name=value, name one of data_dir, out_dir, seed, ',
        ),
        ("--n_layer=two", 'n_layer is of type int, which "two" is not.'),
    ],
)
def test_an_unknown_setting_is_refused_with_a_sentence(argument: str, sentence: str) -> None:
    done = run(argument)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
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
    done = subprocess.run(
        [sys.executable, "-B", "-c", CHECKS, str(tmp_path / "ckpt.pt")],
        cwd=BASE,
        capture_output=True,
        text=True,
    )
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
