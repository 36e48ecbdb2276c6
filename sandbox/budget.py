"""Budgets: what a trial may spend on training, and how many tokens that buys.

A budget in tokens needs no timing, one in FLOPs only the model's own count. One in seconds is found by
``training.py``: the parent's tokens or a rehearsal's guess are tried, the bill decides, and one correction follows.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from darwin.sandbox.errors import SandboxError

MARGIN = 0.05
"""Share of a time budget by which a bill may differ from it before the tokens are corrected."""

OVER = 0.20
"""Share over a time budget at which a corrected run no longer counts as having kept to its tokens."""

FAR_OVER = 0.25
"""Share over a time budget (and a second) at which a run on tokens found earlier does not count: bills of equal work
vary by 5 %, so this is no accident. For what is less a verdict charges."""

KINDS = ((0.65, 0.02), (0.35, 0.2))
"""Shares of children, and the deviations (in logs) of what a token costs them from what it costs their parents: most
are as dear, and some are quite different. Seen in 150 children of five default runs."""

LARGER = 6
"""How many times the budget a champion is checked at: short trials flatter head starts."""

Point = tuple[int, float]
"""Tokens trained on, and the seconds billed for them."""

_SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGTP]?)(tok|FLOP|s|)")


class BudgetError(SandboxError, ValueError):
    """A budget that cannot be read; the text says what can."""


class Unit(StrEnum):
    """What a budget counts."""

    SECONDS = "s"
    TOKENS = "tok"
    FLOPS = "FLOP"


@dataclass(frozen=True)
class Budget:
    """``amount`` in ``unit``: CPU seconds (wall seconds on a GPU), tokens, or FLOPs of forward and backward."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``20s``, ``200ktok``, ``2Mtok`` or ``1TFLOP``; raises ``BudgetError`` in one sentence."""
        found = _FORM.fullmatch(text.strip())
        examples = "Write 20s (training time), 200ktok (tokens) or 1TFLOP, for example --budget 20s."
        if found is None or (found[3] == "s" and found[2]):
            raise BudgetError(f'Budget "{text}" cannot be read. {examples}')
        if not found[3]:
            raise BudgetError(f'Budget "{text}" has no unit. {examples}')
        budget = cls(float(found[1]) * _SCALES[found[2]], Unit(found[3]))
        if budget.amount < (1e-3 if budget.unit is Unit.SECONDS else 1):
            raise BudgetError(f'Budget "{text}" is nothing. {examples}')
        return budget

    def times(self, factor: int) -> Budget:
        """The budget ``factor`` times as large."""
        return Budget(self.amount * factor, self.unit)

    def __str__(self) -> str:
        if self.unit is Unit.SECONDS:
            return f"{self.amount:g}s"
        scale = max(
            (s for s in _SCALES if self.amount / _SCALES[s] >= 1), key=_SCALES.__getitem__, default=""
        )
        if self.unit is Unit.TOKENS:
            scale = scale if scale in ("", "k") else "k" if self.amount < 1e7 else "M"
        return f"{self.amount / _SCALES[scale]:.10g}{scale}{self.unit.value}"


def tokens_for_flops(budget: Budget, flops_per_token: float) -> int:
    """Tokens that a FLOP budget buys a model of so many FLOPs per token."""
    return max(1, int(budget.amount / flops_per_token))


def believed(off: float, deviation: float) -> float:
    """How far off its budget a child on its parent's tokens is by the best estimate, if its bill says ``off``, in logs.

    The posterior mean for a mixture of two normal priors (``KINDS``) and bills that vary by ``deviation`` for equal
    work: where that is nothing, it is what the bill says; else a small difference is most likely luck.
    """
    weights, means = [], []
    for share, spread in KINDS:
        variance = spread**2 + deviation**2
        weights.append(share / math.sqrt(variance) * math.exp(-(off**2) / (2 * variance)))
        means.append(off * spread**2 / variance)
    if not sum(weights):  # beyond all that was seen
        return off
    return sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights)


def guess(seconds: float, points: tuple[Point, Point]) -> int:
    """Tokens that ``seconds`` buy by the line through two points.

    It is kept within an eighth and 16 times the larger point's proportion, so that no odd pair of points (dear
    first steps, none later) asks for a run without end.
    """
    (few, cheap), (many, dear) = sorted(points)
    per_token = max(dear - cheap, 0.01 * dear) / max(1, many - few)
    plain = many * seconds / dear
    return max(1, round(min(max(many + (seconds - dear) / per_token, plain / 8), 16 * plain)))
