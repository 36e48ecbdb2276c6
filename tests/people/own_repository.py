"""A person's own repository, in a style of its own: nothing in it was written for darwin."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

VOCABULARY = 24

SCRIPT = '''\
"""Pretrain the little language model. Edit the numbers below, then: python pretrain.py"""
import math
import os
import pathlib

import numpy as np
import torch
from nets.lm import LanguageModel

corpus = "play"
iterations, batch_size = 4_000, 8
decay_steps = 4_000
context_length = 16
width = 32
lr = 1e-2
warmup = 5
eval_every = 500
val_batches = 50
device = "cuda" if torch.cuda.is_available() else "cpu"

here = pathlib.Path(__file__).resolve().parent
shards = {which: np.memmap(os.path.join("corpora", corpus, f"{which}.bin"), dtype=np.uint16, mode="r")
          for which in ("train", "val")}


def draw(which):
    shard = shards[which]
    at = torch.randint(len(shard) - context_length - 1, (batch_size,))
    rows = np.stack([shard[i : i + context_length + 1] for i in at.tolist()]).astype(np.int64)
    rows = torch.from_numpy(rows).to(device)
    return rows[:, :-1], rows[:, 1:]


def rate(step):
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * 0.5 * (1 + math.cos(math.pi * min(1, step / decay_steps)))


@torch.no_grad()
def validate(net):
    net.eval()
    found = sum(net(*draw("val"))[1].item() for _ in range(val_batches)) / val_batches
    net.train()
    return found


def main():
    torch.manual_seed(1337)
    net = LanguageModel(24, width, context_length).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    weights = here / "weights"
    weights.mkdir(exist_ok=True)
    for step in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        _, loss = net(*draw("train"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % eval_every == 0:
            print(f"{step}: {loss.item():.3f}, validation {validate(net):.3f}")
    torch.save(net.state_dict(), weights / "last.pth")


if __name__ == "__main__":
    main()
'''

MODEL = """\
import torch
from torch import nn
from torch.nn import functional as F

from .parts import Mixer


class LanguageModel(nn.Module):
    def __init__(self, vocabulary, width, window):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.where = nn.Embedding(window, width)
        self.mixer = Mixer(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens, targets=None):
        x = self.embed(tokens) + self.where(torch.arange(tokens.shape[1], device=tokens.device))
        x = self.mixer(x)
        if targets is None:  # for sampling the last place is enough
            return self.head(x[:, [-1]]), None
        logits = self.head(x)
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())
"""

PARTS = """\
from torch import nn
from torch.nn import functional as F


class Mixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.down(F.gelu(self.up(x)))
"""

FILES = {
    "README.md": "# A little language model\n",
    ".gitignore": "weights/\n__pycache__/\nscratch.py\n",
    "pretrain.py": SCRIPT,
    "nets/__init__.py": "",
    "nets/lm.py": MODEL,
    "nets/parts.py": PARTS,
    "tools/count.py": "print('nothing to do with training')\n",
    "scratch.py": "loss.backward()  # ignored by git\n",
}


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def make(folder: Path, *, repository: bool = True, files: dict[str, str] | None = None) -> Path:
    """Write it to a folder, with its own tokens, committed where ``repository`` says so."""
    for path, text in (FILES if files is None else files).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    random = np.random.default_rng(7)
    follows, tokens = random.permutation(VOCABULARY), [0]
    for _ in range(13_000):
        tokens.append(int(follows[tokens[-1]]) if random.random() < 0.7 else int(random.integers(VOCABULARY)))
    (folder / "corpora/play").mkdir(parents=True, exist_ok=True)
    for name, part in (("train", tokens[:10_000]), ("val", tokens[10_000:])):
        np.array(part, dtype="<u2").tofile(folder / f"corpora/play/{name}.bin")
    if repository:
        git(folder, "init", "-q")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "Mine")
    return folder
