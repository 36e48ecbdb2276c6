"""A small GPT, each idea in a place of its own.

Shapes: B windows, T tokens in a window, C width of the stream, H heads, D = C / H width of a head,
V tokens in the vocabulary. A ``# Name:`` comment stands wherever an idea may be changed or added.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class GPTConfig:
    """The shape of a model; train.py chooses it and the checkpoint carries it."""

    vocab_size: int  # V
    block_size: int  # the longest window, T at most
    n_layer: int
    n_head: int  # H, divides n_embd
    n_embd: int  # C
    mlp_width: int  # hidden units of each MLP
    dropout: float


# Norm: LayerNorm without a bias; the mean is taken out as well as the scale.
class Norm(nn.Module):
    """Normalise the last axis, then scale each of its channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.gain)


# Positions: a learned vector for each place in the window, added once to the token embeddings.
class Positions(nn.Module):
    """Tell the stream where in the window each token stands."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(config.block_size, config.n_embd))  # (block_size, C)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]  # (B, T, C)


# Attention: multi-head, causal, every head with its own queries, keys and values.
class Attention(nn.Module):
    """Let each token gather from itself and the tokens before it."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.n_head = config.n_head
        # Projections: queries, keys and values in one product, because one large one is faster than three.
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        # The way back into the stream.
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)
        # Query and key parameters: none.

        # Value parameters: none.

        # Output gate parameters: none.

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head).unbind(2)  # each (B, T, H, D)
        # Query and key norm: none.

        # Query and key positions: none, the stream already carries them.

        # Values: as they were projected.

        # Weights: softmax(q k / sqrt(D)) over the past, without ever storing the (T, T) matrix.
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # each (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D)
        # Heads side by side again.
        y = y.transpose(1, 2).reshape(B, T, C)
        # Output gate: none.
        return self.out(y)  # (B, T, C)


# Activation: GELU, smooth near zero.
def activation(x: Tensor) -> Tensor:
    return F.gelu(x)


# MLP: two matrices with the activation between them, the same for every token.
class MLP(nn.Module):
    """Work on each token by itself."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        # Into the hidden units.
        self.up = nn.Linear(config.n_embd, config.mlp_width, bias=False)
        # And back into the stream.
        self.out = nn.Linear(config.mlp_width, config.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # Hidden units.
        h = activation(self.up(x))  # (B, T, mlp_width)
        # Sum of what they say.
        return self.out(h)  # (B, T, C)


# Block: norm first, so that the stream itself runs untouched from the embedding to the head.
class Block(nn.Module):
    """Attention, then MLP, each reading a normalised stream and adding to it."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.norm1 = Norm(config.n_embd)
        self.attention = Attention(config, layer)
        # The second half.
        self.norm2 = Norm(config.n_embd)
        self.mlp = MLP(config)
        # Regularisation.
        self.drop = nn.Dropout(config.dropout)
        # Mixing parameters: none.
        # Residual parameters: none.

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        # Mixing along time before attention: none.
        # Attention's contribution.
        x = x + self.drop(self.attention(h))  # (B, T, C)
        # What the MLP reads.
        h = self.norm2(x)
        # Mixing along time before the MLP: none.
        # The MLP's contribution.
        return x + self.drop(self.mlp(h))  # (B, T, C)


class GPT(nn.Module):
    """Tokens in, logits of the next token out."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        # Embedding: one vector a token, used again by the head.
        self.embed = nn.Embedding(config.vocab_size, config.n_embd)
        # Embedding norm: none.
        # Where each token stands.
        self.positions = Positions(config)

        # Shortcut parameters: none.

        # The stack.
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        # What the head reads.
        self.norm = Norm(config.n_embd)
        # Head: none of its own, it shares the embedding's matrix.

    def forward(self, tokens: Tensor) -> Tensor:
        """Float logits (B, T, V) for int64 tokens (B, T); position t sees the tokens up to t."""
        x = self.embed(tokens)  # (B, T, C)
        # Embedding scale: none.

        x = self.positions(x)  # (B, T, C)

        # Shortcuts start here: none.

        for _layer, block in enumerate(self.blocks):
            # Shortcut into this block: none.
            x = block(x)  # (B, T, C)
        # The last norm.
        x = self.norm(x)
        # Head: how alike the stream and each token's embedding are.
        logits = F.linear(x, self.embed.weight)  # (B, T, V)
        # Logits: as they are.
        return logits.float()


# Initialisation: GPT-2's, normal with a small deviation.
init_std = 0.02


def initialise(model: GPT, seed: int) -> None:
    """Draw each matrix from a generator of its own, by seed and name: adding one moves no other."""
    for name, parameter in model.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        # Vectors (norms) keep what their module gave them.
        if parameter.dim() < 2:
            continue
        # Matrices in general.
        std = init_std
        # Embedding: no different.

        # Projections into the stream: smaller, because 2 n_layer of them add up.
        if name.endswith("out.weight"):
            std = init_std / math.sqrt(2 * model.config.n_layer)
        # The draw.
        nn.init.normal_(parameter, std=std, generator=generator)


def load(checkpoint: str, device: str) -> Callable[[Tensor], Tensor]:
    """The trained model as a function: int64 tokens (B, T), T up to block_size, to float logits (B, T, V)."""
    saved = torch.load(checkpoint, map_location=device, weights_only=True)
    model = GPT(GPTConfig(**saved["config"])).to(device)
    model.load_state_dict(saved["model"])
    model.eval()

    @torch.no_grad()
    def logits(tokens: Tensor) -> Tensor:
        return model(tokens.to(device))

    return logits
