"""The judge phase: the loss over a whole split, and the leak probe among its requests."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from darwin.memory.records import TrialStatus, perplexity
from darwin.sandbox import judge, probe
from darwin.sandbox.dataset import Dataset
from darwin.sandbox.limits import Limits
from darwin.sandbox.session import Event, Failed, Session


@dataclass(frozen=True)
class Judge:
    """Judges one job's model: windows of ``context`` tokens, in an order and with a probe drawn from ``seed``."""

    session: Session
    dataset: Dataset
    context: int
    seed: int
    limits: Limits
    device: str
    tell: Callable[[Event], None] | None
    probes: int = 1

    def score(self, split: str) -> dict[str, Any]:
        """``loss`` (nats per token), ``perplexity``, ``bits_per_byte`` and ``judge_seconds`` (CPU) of one split.

        Each batch is answered by a process that has seen no other. ``probes`` batches come a second time, altered,
        at a place among the others: the leak probe. Raises ``Failed`` for odd logits and for a leak.
        """
        vocab = self.dataset.vocab_size
        judged = judge.windows(self.dataset.splits[split], self.context, vocab, self.limits.judged_logits)
        if judged.subset and self.tell:
            self.tell({"event": "note", "text": judged.subset})
        size = max(
            1, min(self.limits.windows_per_batch, self.limits.logits_per_batch // (self.context * vocab))
        )
        batches = list(judged.batches(self.seed, size))
        whole = max(1, len(judged.inputs) // size)  # batches of full size come first
        probed = {(self.seed + n) % whole for n in range(min(self.probes, whole))}
        altered = {
            n: probe.alter(judged.inputs[batches[n]], batches[n], judged.inputs, self.seed) for n in probed
        }
        asks = sorted(
            [(n, False) for n in range(len(batches))] + [(n, True) for n in probed], key=self._order
        )
        score, spent, kept = judge.Score(judged), 0.0, dict[tuple[int, bool], Any]()
        most = self.limits.judge_cpu_seconds * max(1.0, self._relative(split))
        for number, other in asks:
            inputs = altered[number].inputs if other else judged.inputs[batches[number]]
            logits, report = self.session.logits("judge", inputs, vocab, max(0.5, most - spent))
            if number in probed:
                kept[number, other] = logits
            if other:
                continue
            spent += report.cpu_seconds
            if problem := score.add(batches[number], logits):
                raise Failed(TrialStatus.BAD_LOGITS, "judge", problem)
        for number in sorted(probed):
            changes = probe.largest_change(kept[number, False], kept[number, True], altered[number].cuts)
            self._refuse_leak(judged.inputs[batches[number]], kept[number, False], *changes)
        loss = score.loss()
        length = self.dataset.bytes_per_token
        return {
            "loss": loss,
            "perplexity": perplexity(loss),
            "bits_per_byte": length and loss / math.log(2) / length,
            "judge_seconds": spent,
        }

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
        return hashlib.sha256(f"order {self.seed} {ask}".encode()).digest()

    def _relative(self, split: str) -> float:
        """Length of a split in validation splits: what the base's judging seconds were measured on."""
        return len(self.dataset.splits[split]) / len(self.dataset.splits["val"])
