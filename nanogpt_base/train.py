"""Train a small GPT on a file of tokens.

    python train.py --data_dir=data --out_dir=out --seed=1 --max_tokens=200000

Reads train.bin (uint16 tokens) and meta.json (vocab_size) from data_dir. Writes ckpt.pt to out_dir and
appends to metrics.jsonl there (step, tokens, loss in nats per token). Every setting below can be given as
--name=value.
"""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from model import GPT, GPTConfig, initialise

# Run ------------------------------------------------------------------------------------------------------
# where train.bin and meta.json are
data_dir = "data"
# where ckpt.pt and metrics.jsonl go; made if missing
out_dir = "out"
# one number for data order, initialisation and dropout; each draws from its own generator
seed = 1
# the budget, in tokens trained on: 2,000 steps of the default batch
max_tokens = 1_536_000
# cpu, cuda, cuda:1, mps
device = "cpu"

# Shape ----------------------------------------------------------------------------------------------------
# blocks; four are enough to copy and to compose, and train in minutes on one thread
n_layer = 4
# attention heads, a divisor of n_embd; 32 channels each
n_head = 4
# width of the stream
n_embd = 128
# hidden units of an MLP for each channel of the stream; GPT-2's ratio
mlp_ratio = 4.0
# share of activations dropped; the budget ends long before the data is learnt by heart
dropout = 0.0

# Batch ----------------------------------------------------------------------------------------------------
# windows a step
batch_size = 12
# tokens a window, at least as long as the windows it will be judged on
block_size = 64

# Optimizer ------------------------------------------------------------------------------------------------
# peak step size of AdamW; small models bear large ones
learning_rate = 1e-3
# memory of the mean gradient, about 10 steps
beta1 = 0.9
# memory of its square, about 100 steps: shorter than usual, since a run is short
beta2 = 0.99
# pull of the matrices towards zero, per step and unit of step size
weight_decay = 0.1
# longest gradient, as a norm over all parameters
grad_clip = 1.0

# Schedule -------------------------------------------------------------------------------------------------
# share of the steps in which the step size rises from 0
warmup_fraction = 0.05
# share of the peak at which it ends
final_fraction = 0.1

# Overrides ------------------------------------------------------------------------------------------------
# --name=value for any setting above, read as the type of its default
names = [k for k, v in list(globals().items()) if type(v) in (int, float, str) and not k.startswith("_")]
for argument in sys.argv[1:]:
    name, equals, value = argument.removeprefix("--").partition("=")
    if not argument.startswith("--") or not equals or name not in names:
        sys.exit(f'train.py does not know "{argument}". Write --name=value, name one of {", ".join(names)}.')
    try:
        globals()[name] = type(globals()[name])(value)
    except ValueError:
        sys.exit(f'{name} is of type {type(globals()[name]).__name__}, which "{value}" is not.')


# Batch assembly: windows drawn at random, with replacement.
def batch(tokens: np.ndarray, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets, int64, each (batch_size, block_size); targets are the inputs one token later."""
    starts = torch.randint(len(tokens) - block_size, (batch_size, 1), generator=generator)
    windows = tokens[(starts + torch.arange(block_size + 1)).numpy()].astype(np.int64)  # (B, T + 1)
    # Both halves to where the model is.
    pair = torch.from_numpy(windows).to(device)
    return pair[:, :-1], pair[:, 1:]


# Loss: plain cross-entropy.
def loss_of(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Nats per token, a scalar, for logits (B, T, V) and targets (B, T)."""
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


# Optimizer: AdamW; matrices decay, vectors do not.
def optimizers_for(model: GPT) -> list[torch.optim.Optimizer]:
    """The optimizers that together move every parameter once a step."""
    # Who moves what.
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    # Further optimizers: none.
    others: list[torch.optim.Optimizer] = []
    # The groups, each with its own decay.
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        # Vectors: gains, which have no reason to be small.
        {"params": vectors, "weight_decay": 0.0},
    ]
    # The rule.
    return [torch.optim.AdamW(groups, lr=learning_rate, betas=(beta1, beta2)), *others]


# Schedule: warm-up, then half a cosine.
def schedule(progress: float) -> float:
    """Share of the peak step size at a point of the run, 0 <= progress < 1."""
    # Warm-up.
    if progress < warmup_fraction:
        return progress / warmup_fraction
    # Decay.
    done = (progress - warmup_fraction) / (1 - warmup_fraction)
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * done)) / 2


# Data.
tokens = np.memmap(Path(data_dir, "train.bin"), dtype=np.uint16, mode="r")
vocab_size = json.loads(Path(data_dir, "meta.json").read_text(encoding="utf-8"))["vocab_size"]
data_generator = torch.Generator().manual_seed(seed)

# Model.
mlp_width = int(mlp_ratio * n_embd)
config = GPTConfig(vocab_size, block_size, n_layer, n_head, n_embd, mlp_width, dropout)
model = GPT(config)
initialise(model, seed)
model.to(device)

# Dropout draws from torch's own generator, and nothing else does from here on.
torch.manual_seed(seed)

# Derived numbers.
optimizers = optimizers_for(model)
peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
steps = max(1, max_tokens // (batch_size * block_size))
log_every = max(1, steps // 50)
parameters = sum(p.numel() for p in model.parameters())
print(f"{parameters:,} parameters, {steps:,} steps of {batch_size} x {block_size} tokens, seed {seed}")

# The loop.
Path(out_dir).mkdir(parents=True, exist_ok=True)
with Path(out_dir, "metrics.jsonl").open("a", encoding="utf-8") as metrics:
    for step in range(steps):
        # Step sizes of this step: the middle of its share of the run.
        share = schedule((step + 0.5) / steps)
        for optimizer, its_peaks in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, its_peaks, strict=True):
                group["lr"] = peak * share
        # Forward and backward.
        inputs, targets = batch(tokens, data_generator)
        loss = loss_of(model(inputs), targets)
        loss.backward()
        # Gradients: no longer than grad_clip.
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        # Update.
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        # After each update: nothing.
        # The live curve.
        if step % log_every == 0 or step == steps - 1:
            done, nats = step + 1, loss.item()
            print(f"step {done:>6,} of {steps:,}  loss {nats:.4f}", flush=True)
            metrics.write(json.dumps({"step": done, "tokens": done * inputs.numel(), "loss": nats}) + "\n")
            metrics.flush()
# The result: the last weights.
torch.save({"config": asdict(config), "model": model.state_dict()}, Path(out_dir, "ckpt.pt"))
