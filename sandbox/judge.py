"""The loss, computed here from logits: the candidate never marks its own homework, and never sees a target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darwin.sandbox.dataset import Tokens


@dataclass(frozen=True)
class Windows:
    """Fixed non-overlapping windows of a split: ``inputs`` and ``targets`` of shape (N, T), shifted by one.

    ``of`` is how many windows the whole split has: more than N where an evenly spaced subset is judged.
    """

    inputs: Tokens
    targets: Tokens
    of: int

    @property
    def subset(self) -> str | None:
        """What is left out, in one sentence, or None."""
        if len(self.inputs) == self.of:
            return None
        return f"Judged on {len(self.inputs)} evenly spaced windows of {self.of}."

    def batches(self, key: str, size: int) -> Iterator[NDArray[np.int64]]:
        """Indices of windows, ``size`` at a time, in an order shuffled by the key; the last batch may be smaller."""
        digest = hashlib.sha256(f"judge {key}".encode()).digest()
        order = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big"))).permutation(
            len(self.inputs)
        )
        for start in range(0, len(order), size):
            yield order[start : start + size]


def windows(tokens: Tokens, context: int, vocab_size: int, most_logits: int = 1_000_000_000) -> Windows:
    """Cut a split of at least context + 1 tokens into windows of ``context``; a shorter rest is not judged.

    Where windows x context x vocabulary is over ``most_logits``, an evenly spaced subset is taken.
    """
    count = (len(tokens) - 1) // context
    taken = max(1, min(count, most_logits // (context * vocab_size)))
    starts = context * (np.arange(taken, dtype=np.int64) * count // taken)  # (N,)
    index = starts[:, None] + np.arange(context)  # (N, T)
    return Windows(np.asarray(tokens[index]), np.asarray(tokens[index + 1]), count)


def losses(logits: NDArray[np.float32], targets: Tokens) -> NDArray[np.float64]:
    """Nats of each token, (B, T): minus the float32 log-softmax of logits (B, T, V) at the targets (B, T)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)  # (B, T, V)
    chosen = np.take_along_axis(shifted, targets[..., None].astype(np.int64), axis=-1)[..., 0]  # (B, T)
    nats: NDArray[np.float64] = (np.log(np.exp(shifted).sum(axis=-1)) - chosen).astype(np.float64)
    return nats


class Score:
    """Collects the losses of windows in any order; the mean is summed in float64 in the split's own order."""

    def __init__(self, judged: Windows) -> None:
        self._windows = judged
        self._sums = np.full(len(judged.inputs), np.nan)

    def add(self, index: NDArray[np.int64], logits: NDArray[np.float32]) -> str | None:
        """Score the windows ``index`` by logits (B, T, V); returns what is wrong with the logits, or None."""
        if not np.isfinite(logits).all():
            return "The model gave logits that are not finite."
        with np.errstate(over="ignore"):
            self._sums[index] = losses(logits, self._windows.targets[index]).sum(axis=-1)
        if not np.isfinite(self._sums[index]).all():
            return "The model gave logits so large that the loss is not finite."
        return None

    def loss(self) -> float:
        """Nats per token over all windows."""
        return float(self._sums.sum() / self._windows.targets.size)
