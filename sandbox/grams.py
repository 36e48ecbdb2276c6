"""Text compared by what stands in a row: one number for each run of tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darwin.sandbox.dataset import Tokens

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def grams(tokens: Tokens, width: int) -> NDArray[np.uint64]:
    """A 64-bit number for each ``width`` tokens in a row, (N - width + 1,): equal for equal runs, and for others
    hardly ever.

    A polynomial over 64 bits; runs of a power of two are put together from their halves.
    """
    found = np.zeros(len(tokens) + 1, dtype=np.uint64)
    part = tokens.astype(np.uint64) + np.uint64(1)
    power, covered, bit = _FACTOR, 0, 1
    with np.errstate(over="ignore"):
        while bit <= width:
            if width & bit:
                count = len(tokens) - covered - bit + 1
                if count < 1:
                    return found[:0]
                found = found[:count] * power + part[covered : covered + count]
                covered += bit
            bit *= 2
            if bit <= width:
                half = bit // 2
                part = part[:-half] * power + part[half:]
                power = power * power
    return found
