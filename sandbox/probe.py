"""The leak probe: does a model see what comes after a token, or the other windows of its batch?

It asks once more for windows that are judged anyway, in other company and with other ends, in a request that looks
like any other. Whatever a position may see is unchanged, so its logits have to be the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darwin.sandbox.dataset import Tokens

ROUNDING = {"cpu": 1e-4, "cuda": 2e-3}
"""Nats by which a log-probability may change and still be rounding. On a CPU equal shapes give equal bits; a
model whose shapes follow its data (a mixture of experts) sums in another order. What hides below this bound can
move no loss by more than the bound, a hundredth of a per cent of perplexity."""


@dataclass(frozen=True)
class Altered:
    """A batch of judged windows with other contents from ``cuts`` on: inputs (B, T), and for each row the judged batch
    whose row of the same number it was taken from, and the first position that was replaced (T: the row is as it was,
    0: another window altogether)."""

    inputs: Tokens
    origins: NDArray[np.int64]
    cuts: NDArray[np.int64]


def alter(batches: Sequence[NDArray[np.int64]], all_inputs: Tokens, key: str) -> Altered:
    """Make one batch out of rows of all ``batches`` (each B indices into the windows ``all_inputs`` (N, T)).

    A row keeps its number, so that equal shapes give equal bits, and gets neighbours from other batches: what a model
    does in some batches only shows too. Three quarters of the rows get the end of another window, from positions as
    different as can be; the others are kept, or replaced altogether. Where a window and its successor are in one batch,
    the window is kept and the successor left out: its first token is the window's last target.
    """
    digest = hashlib.sha256(f"probe {key}".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))
    rows, length = len(batches[0]), all_inputs.shape[1]
    few = rows // 8
    origins: NDArray[np.int64] = random.permutation(np.arange(rows) % len(batches))
    cuts: NDArray[np.int64] = np.full(rows, -1, dtype=np.int64)
    order = random.permutation(rows)
    cuts[order[:few]], cuts[order[few : 2 * few]] = length, 0
    followed = _followed(batches, random)
    for row in [int(row) for row in order if int(row) in followed][:few]:
        origins[row], cuts[row] = followed[row], length
    index = np.array([batches[origins[row]][row] for row in range(rows)])
    for successor in np.isin(index, index[cuts == length] + 1).nonzero()[0]:
        cuts[successor] = 0
    left = (cuts < 0).nonzero()[0]
    places = [1 + random.permutation(max(1, length - 1)) for _ in range(1 + len(left) // max(1, length - 1))]
    cuts[left] = np.concatenate(places)[: len(left)]
    changed = all_inputs[index].copy()
    for row, cut in enumerate(cuts):
        if cut < length:
            changed[row, cut:] = _donor(changed[row], all_inputs, int(cut), random)[cut:]
    return Altered(changed, origins, cuts)


def _followed(batches: Sequence[NDArray[np.int64]], random: np.random.Generator) -> dict[int, int]:
    """Row -> a batch that holds the successor of its window in that row; rows without one are left out."""
    found = {}
    for number in random.permutation(len(batches)):
        for row in np.isin(batches[number] + 1, batches[number]).nonzero()[0]:
            found[int(row)] = int(number)
    return found


def _donor(window: Tokens, all_inputs: Tokens, cut: int, random: np.random.Generator) -> Tokens:
    """A window of the split that differs from ``window`` at ``cut`` already, else one token changed by hand."""
    for number in random.integers(len(all_inputs), size=20):
        if all_inputs[number, cut] != window[cut]:
            found: Tokens = all_inputs[number]
            return found
    changed = window.copy()
    changed[cut] = 0 if window[cut] else 1
    return changed


def largest_change(
    before: NDArray[np.float32], after: NDArray[np.float32], cuts: NDArray[np.int64]
) -> tuple[float, float]:
    """(of the rows kept whole, of those whose end was replaced): the largest change of any log-probability, in
    nats, at positions whose past is unchanged. Logits are (B, T, V)."""
    whole = end = 0.0
    length = before.shape[1]
    for row, cut in enumerate(cuts):
        left, right = before[row, :cut], after[row, :cut]
        if cut == 0 or np.array_equal(left, right):
            continue
        change = float(np.abs(_log_probabilities(left) - _log_probabilities(right)).max())
        if not np.isfinite(change):
            change = np.inf
        if cut == length:
            whole = max(whole, change)
        else:
            end = max(end, change)
    return whole, end


def whole_rows(inputs: Tokens) -> NDArray[np.int64]:
    """Cuts for a batch (B, T) that was not altered at all."""
    return np.full(len(inputs), inputs.shape[1], dtype=np.int64)


def verdict(whole: float, end: float, again: float | None, device: str) -> str | None:
    """What the changes say, in one sentence, or None: ``again`` is the largest change when the very same batch was
    asked for twice (None: not asked)."""
    bound = ROUNDING.get(device.partition(":")[0], ROUNDING["cuda"])
    if again is not None and again > bound:
        return f"The model answers the same windows differently each time (by {again:.2g} nats): it draws at random."
    if whole > bound:
        return (
            f"The model leaks: a window's log-probabilities change by up to {whole:.2g} nats with the other "
            "windows of its batch. Statistics over the batch are not allowed."
        )
    if end > bound:
        return (
            f"The model leaks: log-probabilities change by up to {end:.2g} nats when only later tokens are "
            "replaced. A position may see the tokens up to its own, nothing after."
        )
    return None


def _log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    normed: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.maximum(normed, -50.0)  # what is all but impossible may be so by any amount
