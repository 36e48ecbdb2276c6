"""What each technique does, one function an id: True of the script with its edit, False (or an error) of the ancestor.

``s`` holds the globals of a train.py that has just trained on three steps' worth of tokens, and beside them: ``module``
(model.py), ``seen`` (shape of the windows of each step), ``trail`` (the embedding after each step), ``clipped`` (how
often gradients were), ``low`` (whether all steps ran in bfloat16). Runs in trainer.py's child, so the model may be
spoilt.
"""

import math
from itertools import pairwise
from types import SimpleNamespace as Script

import torch
from torch import Tensor
from torch.nn import functional as F

WIDTH, HEADS, HIDDEN = 128, 4, 512
X = torch.randn(2, 8, WIDTH, generator=torch.Generator().manual_seed(1))  # (B, T, C), a stream
WINDOWS = torch.tensor([[1, 5, 2, 7, 7, 3, 10, 0], [4, 5, 2, 0, 9, 1, 1, 8]])  # (B, T)


def near(a: Tensor, b: Tensor | float, within: float = 1e-5) -> bool:
    return bool((a - b).abs().max() < within)


def fresh(s: Script) -> dict[str, Tensor]:
    """The parameters of a new model, by name."""
    model = s.module.GPT(s.config)
    s.module.initialise(model, 1)
    return dict(model.named_parameters())


def stream(s: Script, windows: Tensor = WINDOWS) -> tuple[list[Tensor], list[Tensor]]:
    """What goes into each block and what comes out, (B, T, C) each."""
    into: list[Tensor] = []
    out: list[Tensor] = []
    for block in s.model.blocks:
        block.register_forward_hook(lambda _, given, result: (into.append(given[0]), out.append(result))[1])
    s.model(windows)
    return into, out


def start(s: Script, windows: Tensor = WINDOWS) -> Tensor:
    """What goes into the first block, less any learned positions."""
    if hasattr(s.model, "positions"):
        s.model.positions.table.data.zero_()
    return stream(s, windows)[0][0]


def attended(s: Script, layer: int = 0) -> Tensor:
    """What one layer's attention adds to the stream, in a pass of the whole model."""
    found: list[Tensor] = []
    s.model.blocks[layer].attention.register_forward_hook(lambda _, given, out: found.append(out))
    s.model(WINDOWS)
    return found[0]


def groups(s: Script) -> list[dict]:
    return s.optimizers[0].param_groups


def moved(s: Script, gradients: list[Tensor]) -> list[Tensor]:
    """Where the last optimizer brings a parameter from 0 by these gradients, after each step at rate 1, no decay."""
    p = torch.nn.Parameter(torch.zeros_like(gradients[0]))
    kind = type(s.optimizers[-1])
    if "Muon" in kind.__name__:
        optimizer = kind([p], 1.0, 0.0)
    else:
        optimizer = kind([{"params": [p], "weight_decay": 0.0}], lr=1.0, betas=(0.9, 0.99))
    places = []
    for gradient in gradients:
        p.grad = gradient
        optimizer.step()
        places.append(p.detach().clone())
    return places


def attention_gate(s: Script) -> bool:
    attention, x = s.model.blocks[0].attention, torch.ones(1, 4, WIDTH)
    open_ = attention(x)
    attention.gate.weight.data.fill_(-1.0)
    return near(attention(x), 0.0, 1e-12) and not near(open_, 0.0, 1e-6)


def bfloat16(s: Script) -> bool:
    return s.low and s.model(WINDOWS).dtype == torch.float32 and s.model.embed.weight.dtype == torch.float32


def bigram_embedding(s: Script) -> bool:
    a, b = start(s, torch.tensor([[1, 2, 3, 4]])), start(s, torch.tensor([[1, 5, 3, 4]]))
    same = [near(a[:, t], b[:, t], 1e-7) for t in range(4)]
    return same == [True, False, False, True]


def cautious_adamw(s: Script) -> bool:
    first, second = moved(s, [torch.tensor([1.0, 1.0]), torch.tensor([-0.01, 1.0])])
    return bool(first[0] == second[0]) and bool(second[1] < first[1])  # the first opposes its momentum


def counted_trigrams(s: Script) -> bool:
    s.model.norm.gain.data.zero_()
    said = s.model(torch.tensor([[3, 7]]))[0, 1].double().exp()  # what follows 3, 7
    text = [int(token) for token in s.tokens]
    after = [c for a, b, c in zip(text, text[1:], text[2:], strict=False) if (a, b) == (3, 7)]
    counts = torch.tensor([after.count(c) for c in range(11)]).double()
    return near(said.sum(), 1.0) and near(said * (counts.sum() + 2) - counts, 2 / 11, 0.05)


def embedding_init(s: Script) -> bool:
    new = fresh(s)
    return near(new["embed.weight"].std(), 0.05, 0.005) and near(
        new["blocks.0.mlp.up.weight"].std(), 0.02, 0.001
    )


def embedding_rate(s: Script) -> bool:
    (own,) = [g for g in groups(s) if [id(p) for p in g["params"]] == [id(s.model.embed.weight)]]
    return math.isclose(own["lr"], 4 * groups(s)[0]["lr"]) and own["weight_decay"] == 0


def embedding_scale(s: Script) -> bool:
    return near(start(s), s.model.embed(WINDOWS) * math.sqrt(WIDTH))


def embedding_shortcut(s: Script) -> bool:
    s.model.shortcut.data.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0]))
    into, out = stream(s)
    return near(into[2], out[1] + into[0]) and near(into[3], out[2])


def fading_decay(s: Script) -> bool:
    return [g["weight_decay"] for g in groups(s)] == [s.weight_decay * s.share, 0.0] and s.share < 1


def fewer_heads(s: Script) -> bool:
    return [block.attention.n_head for block in s.model.blocks] == [2] * 4 and s.n_embd == WIDTH


def fewer_layers(s: Script) -> bool:
    return len(s.model.blocks) == 2 and s.n_embd == WIDTH


def fused_adamw(s: Script) -> bool:
    return groups(s)[0]["fused"] is True


def gainless_norm(s: Script) -> bool:
    return not any("norm" in name for name, _ in s.model.named_parameters()) and near(
        s.model.norm(X).mean(-1), 0.0
    )


def gated_mlp(s: Script) -> bool:
    mlp = s.model.blocks[0].mlp
    weights = mlp.up.weight.numel() + mlp.out.weight.numel()
    mlp.up.weight.data[: len(mlp.up.weight) // 2] = 0  # a shut gate
    return near(mlp(X), 0.0, 1e-12) and abs(weights / (2 * WIDTH * HIDDEN) - 1) < 0.01


def growing_batch(s: Script) -> bool:
    return s.seen == [(4, 64), (4, 64), (12, 64), (12, 64)]


def growing_windows(s: Script) -> bool:
    return s.seen == [(48, 16), (12, 64), (12, 64)]


def higher_learning_rate(s: Script) -> bool:
    return s.peaks[0] == [3e-3, 3e-3]


def larger_batch(s: Script) -> bool:
    return s.seen == [(24, 64)]


def larger_init(s: Script) -> bool:
    return near(fresh(s)["blocks.0.mlp.up.weight"].std(), 0.05, 0.002)


def learned_bigrams(s: Script) -> bool:
    s.model.norm.gain.data.zero_()
    return near(s.model(WINDOWS), s.model.bigrams(WINDOWS))


def linear_to_zero(s: Script) -> bool:
    half = s.warmup_fraction + (1 - s.warmup_fraction) / 2
    return math.isclose(s.schedule(half), 0.5) and s.schedule(1 - 1e-9) < 1e-6


def logit_soft_cap(s: Script) -> bool:
    s.model.embed.weight.data *= 1000
    return 14 < s.model(WINDOWS).abs().max() <= 15


def lower_beta2(s: Script) -> bool:
    return groups(s)[0]["betas"] == (0.9, 0.95)


def lower_weight_decay(s: Script) -> bool:
    return [g["weight_decay"] for g in groups(s)] == [0.01, 0.0]


def multi_query(s: Script) -> bool:
    attention = s.model.blocks[0].attention
    queries = attention.qkv.weight.data[:WIDTH].view(HEADS, -1, WIDTH)
    queries[:] = queries[:1].clone()  # one question asked by all heads
    heard: list[Tensor] = []
    attention.out.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    attention(X)
    heads = heard[0].view(2, 8, HEADS, -1)
    return near(heads, heads[:, :, :1])


def multi_token_loss(s: Script) -> bool:
    logits, targets = s.model(WINDOWS[:, :-2]), WINDOWS[:, 1:-1]
    plain = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    ahead = F.cross_entropy(s.model.ahead[0][:, :-1].flatten(0, 1), WINDOWS[:, 2:-1].flatten())
    found = s.loss_of(logits, targets)
    s.model.eval()
    s.model(WINDOWS)
    return near(found, plain + 0.2 * ahead) and s.model.ahead == []


def muon(s: Script) -> bool:
    hidden = {id(p) for p in s.model.blocks.parameters() if p.dim() == 2}
    (step,) = moved(s, [torch.randn(16, 64, generator=torch.Generator().manual_seed(1))])
    values = torch.linalg.svdvals(step)
    return {
        id(p) for p in s.optimizers[1].param_groups[0]["params"]
    } == hidden and 0.5 < values.min() <= values.max() < 1.4


def no_clipping(s: Script) -> bool:
    return s.clipped == 0


def no_positions(s: Script) -> bool:
    return near(stream(s)[0][0], s.model.embed(WINDOWS))


def normuon(s: Script) -> bool:
    (step,) = moved(s, [torch.randn(16, 8, generator=torch.Generator().manual_seed(1))])
    rows = step.norm(dim=1)
    return near(rows / rows.mean(), 1.0, 1e-3) and not near(step.abs() / step.abs().mean(), 1.0, 1e-3)


def orthogonal_init(s: Script) -> bool:
    values = torch.linalg.svdvals(fresh(s)["blocks.0.mlp.up.weight"])
    return near(values / values.mean(), 1.0, 1e-4) and near(
        fresh(s)["blocks.0.mlp.up.weight"].std(), 0.02, 0.001
    )


def parallel_block(s: Script) -> bool:
    block = s.model.blocks[0]
    h = block.norm1(X)
    return near(block(X), X + block.attention(h) + block.mlp(h), 1e-7)


def scores(s: Script) -> Tensor:
    """Scores (T, T) of equal queries and equal keys at ten places, as positions turn them."""
    turned = s.module.rotate(torch.ones(1, 10, 1, 32))[0, :, 0]
    return turned @ turned.T


def partial_rotary(s: Script) -> bool:
    x = X.view(2, 8, HEADS, 32)
    turned, found = s.module.rotate(x), scores(s)
    relative = near(found[3, 1], found[9, 7], 1e-4) and not near(found[3, 1], found[3, 0], 1e-4)
    return relative and near(turned[..., 16:], x[..., 16:]) and not near(turned[..., :16], x[..., :16])


def qk_norm(s: Script) -> bool:
    attention = s.model.blocks[0].attention
    before = attention(X)
    attention.qkv.weight.data[: 2 * WIDTH] *= 50
    return near(before, attention(X), 1e-4)


def relu(s: Script) -> bool:
    return s.module.activation(torch.tensor([-2.0, 3.0])).tolist() == [0, 3]


def relu_squared(s: Script) -> bool:
    return s.module.activation(torch.tensor([-2.0, 3.0])).tolist() == [0, 9]


def rms_norm(s: Script) -> bool:
    return near(s.module.Norm(4)(torch.full((4,), 7.0)), 1.0)


def rotary_positions(s: Script) -> bool:
    found = scores(s)
    relative = near(found[3, 1], found[9, 7], 1e-4) and not near(found[3, 1], found[3, 0], 1e-4)
    return relative and not hasattr(s.model, "positions")


def short_convolution(s: Script) -> bool:
    attention = s.model.blocks[0].attention
    taps = attention.taps.data.view(3, -1)
    taps[:] = torch.tensor([[0.0], [1.0], [0.0]])
    late = attention(X)
    taps[:] = torch.tensor([[1.0], [0.0], [0.0]])
    return near(late, attention(F.pad(X, (0, 0, 1, -1))))


def shorter_warmup(s: Script) -> bool:
    return math.isclose(s.schedule(0.02), 1.0) and s.schedule(0.01) == 0.5


def shuffled_epochs(s: Script) -> bool:
    s.batch.__globals__["waiting"] = torch.empty(0, dtype=torch.int64)
    text = torch.arange(64 * 14).numpy()
    inputs, _ = s.batch(text, torch.Generator().manual_seed(1))
    firsts = sorted(inputs[:, 0].tolist())
    return len(set(firsts)) == 12 and all((b - a) % 64 == 0 for a, b in pairwise(firsts))


def smaller_batch(s: Script) -> bool:
    return s.seen == [(5, 64)] * 7


def smeared_embedding(s: Script) -> bool:
    s.model.smear.data.fill_(1.0)
    own = s.model.embed(WINDOWS)
    return near(start(s)[:, 1:], own[:, 1:] + own[:, :-1])


def token_shift(s: Script) -> bool:
    block = s.model.blocks[0]
    block.shift1.data.fill_(1.0)
    heard: list[Tensor] = []
    block.attention.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    block(X)
    return near(heard[0][:, 1:], block.norm1(X)[:, :-1]) and block.shift2.requires_grad


def trapezoid(s: Script) -> bool:
    return s.schedule(0.06) == s.schedule(0.5) == 1 and s.schedule(1 - 1e-9) < 1e-6


def unet_skips(s: Script) -> bool:
    s.model.shortcut.data.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    into, out = stream(s)
    return near(into[3], out[2] + out[0]) and near(into[2], out[1])


def untied_head(s: Script) -> bool:
    s.model.head.weight.data.zero_()
    return near(s.model(WINDOWS), 0.0, 1e-12)


def value_embeddings(s: Script) -> bool:
    attention = s.model.blocks[0].attention
    attention.qkv.weight.data[2 * WIDTH :] = 0
    attention.token_share.data.fill_(1.0)
    return near(attended(s)[:, 0], attention.out(s.model.value_embed(WINDOWS))[:, 0])


def value_residual(s: Script) -> bool:
    attention = s.model.blocks[1].attention
    attention.first_share.data.fill_(1.0)  # the first layer's values alone
    before = attended(s, 1)
    attention.qkv.weight.data[2 * WIDTH :] = 0
    return near(before, attended(s, 1)) and not near(before, 0.0)


def weight_averaging(s: Script) -> bool:
    mean = s.trail[0]
    for step, weights in enumerate(s.trail[1:], start=1):
        mean = mean.lerp(weights, max(1 / (step + 1), 1 / (s.average_fraction * s.steps + 1)))
    return near(s.model.embed.weight, mean, 1e-7) and not near(mean, s.trail[-1], 1e-7)


def wider_shallower(s: Script) -> bool:
    return len(s.model.blocks) == 2 and s.model.embed.weight.shape[1] == 192


def z_loss(s: Script) -> bool:
    logits, targets = s.model(WINDOWS[:, :-1]), WINDOWS[:, 1:]
    z = logits.logsumexp(-1)
    raised = s.loss_of(logits + 5, targets) - s.loss_of(logits, targets)  # equal without the penalty
    return near(raised, 1e-4 * ((z + 5).square() - z.square()).mean(), 1e-5) and raised > 1e-3


def zero_init_projections(s: Script) -> bool:
    return all(near(p, 0.0, 1e-12) for name, p in fresh(s).items() if name.endswith("out.weight"))
