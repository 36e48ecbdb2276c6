"""The judge phase: the loss over a whole split, and the leak probe among its requests."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darwin.memory.records import TrialStatus, perplexity
from darwin.sandbox import judge, probe
from darwin.sandbox.dataset import Dataset
from darwin.sandbox.limits import Limits
from darwin.sandbox.session import Event, Failed, Session


@dataclass(frozen=True)
class Judge:
    """Judges one job's model: windows of ``context`` tokens, in an order and with a probe drawn from ``key``."""

    session: Session
    dataset: Dataset
    context: int
    key: str
    limits: Limits
    device: str
    tell: Callable[[Event], None] | None
    probes: int = 1

    def score(self, split: str) -> dict[str, Any]:
        """``loss`` (nats per token), ``perplexity``, ``bits_per_byte`` and ``judge_seconds`` (CPU) of one split.

        Each batch is answered by a process that has seen no other. Among them come ``probes`` batches of altered
        windows: the leak probe. Raises ``Failed`` for odd logits and for a leak.
        """
        vocab = self.dataset.vocab_size
        judged = judge.windows(self.dataset.splits[split], self.context, vocab, self.limits.judged_logits)
        if judged.subset and self.tell:
            self.tell({"event": "note", "text": judged.subset})
        batches, rows = self._batches(judged)
        altered = [probe.alter(rows, judged.inputs, f"{self.key} {n}") for n in range(self.probes)]
        asks = [(n, False) for n in range(len(rows))] + [(n, True) for n in range(len(altered))]
        score, spent = judge.Score(judged), 0.0
        before = [np.empty((*one.inputs.shape, vocab), dtype=np.float32) for one in altered]
        after: dict[int, NDArray[np.float32]] = {}
        most = self.limits.judge_cpu_seconds * max(1.0, self._relative(split))
        for number, other in sorted(asks, key=self._order):
            inputs = altered[number].inputs if other else judged.inputs[rows[number]]
            logits, report = self.session.logits("judge", inputs, vocab, max(0.5, most - spent))
            if other:
                after[number] = logits
                continue
            spent += report.cpu_seconds
            if spent > most:
                raise Failed(
                    TrialStatus.TIMED_OUT,
                    "judge",
                    f"Judging it took more than the {most:.3g} CPU seconds allowed.",
                )
            if problem := score.add(batches[number], logits[: len(batches[number])]):
                raise Failed(TrialStatus.BAD_LOGITS, "judge", problem)
            for kept, one in zip(before, altered, strict=True):
                kept[one.origins == number] = logits[one.origins == number]
        for number, one in enumerate(altered):
            changes = probe.largest_change(before[number], after[number], one.cuts)
            self._refuse_leak(one.inputs, after[number], *changes)
        loss = score.loss()
        length = self.dataset.bytes_per_token
        return {
            "loss": loss,
            "perplexity": perplexity(loss),
            "bits_per_byte": length and loss / math.log(2) / length,
            "judge_seconds": spent,
        }

    def _batches(self, judged: judge.Windows) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """(the windows of each batch, the same filled up to one size): no batch can be told by its size."""
        fitting = self.limits.logits_per_batch // (self.context * self.dataset.vocab_size)
        size = max(1, min(self.limits.windows_per_batch, fitting, len(judged.inputs)))
        batches = list(judged.batches(self.key, size))
        return batches, [np.concatenate([batch, batches[0][: size - len(batch)]]) for batch in batches]

    def _refuse_leak(self, inputs: Any, kept: Any, whole: float, end: float) -> None:
        """Raise ``Failed`` for a leak; a model whose answers vary by themselves is told from one that leaks."""
        if probe.verdict(whole, end, None, self.device) is None:
            return
        again, _ = self.session.logits(
            "judge", inputs, self.dataset.vocab_size, self.limits.judge_cpu_seconds
        )
        same, _ = probe.largest_change(kept, again, probe.whole_rows(inputs))
        problem = probe.verdict(whole, end, same, self.device)
        assert problem is not None
        raise Failed(TrialStatus.DISQUALIFIED, "judge", problem)

    def _order(self, ask: tuple[int, bool]) -> bytes:
        return hashlib.sha256(f"order {self.key} {ask}".encode()).digest()

    def _relative(self, split: str) -> float:
        """Length of a split in validation splits: what the base's judging seconds were measured on."""
        return len(self.dataset.splits[split]) / len(self.dataset.splits["val"])
