"""Every bound on a trial, with its unit and reason. A caller overrides with ``dataclasses.replace``."""

from __future__ import annotations

from dataclasses import dataclass, replace

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Limits:
    """Bounds on one trial. Seconds of CPU are those of a phase's whole process tree."""

    smoke_tokens: int = 2048
    """Tokens: two or three steps of the base, so that a crash shows before training is paid for."""

    rehearsal_share: float = 0.2
    """Times its shortest run fits into it, of a time budget, for a rehearsal: about a tenth of the budget, as half of
    the shortest is starting up. Less guesses worse, and a wrong guess costs a whole run."""

    rehearsal_rise: float = 1.3
    """Times the run before it that a rehearsal has to cost for a line through both to say anything."""

    smoke_cpu_seconds: float = 60.0
    """CPU seconds: the base needs under 1; a script may build tables first."""

    train_cpu_seconds: float = 600.0
    """CPU seconds, until the base's bill is known (``after_base``)."""

    slower_than_base: float = 4.0
    """How many times the base's bill a candidate may take under a token budget, where slowness is not yet priced."""

    least_train_cpu_seconds: float = 60.0
    """CPU seconds that any candidate gets, however small the budget: imports and tables take their time."""

    probe_cpu_seconds: float = 60.0
    """CPU seconds to load a checkpoint and count one forward and one backward pass of one window."""

    judge_cpu_seconds: float = 300.0
    """CPU seconds for all judged batches together, until the base's are known (``after_base``)."""

    judge_over_base: float = 3.0
    """How many times the base's CPU seconds a candidate may take to be judged: search while judging is no model."""

    least_judge_cpu_seconds: float = 3.0
    """CPU seconds any candidate gets for it, however short the split."""

    wall_factor: float = 10.0
    """Wall seconds allowed per CPU second: a busy machine runs a job 3.5 times longer (facts.md); beyond is a hang."""

    least_wall_seconds: float = 30.0
    """Wall seconds any phase gets, whatever its CPU limit."""

    start_wall_seconds: float = 300.0
    """Wall seconds a server may take to import torch: 3 on a quiet machine, far more from a cold disk."""

    memory_bytes: int = 2 * GiB
    """Bytes over what the server held at the fork, for each process and for the tree: ten times the base's need."""

    genome_bytes: int = 128 * KiB
    """Bytes of all files of a script: eight times the base's, no room for trained weights or a corpus."""

    checkpoint_bytes: int = 256 * MiB
    """Bytes: the server holds it in memory between phases; the base's is 3 to 10 MB."""

    disk_bytes: int = 1 * GiB
    """Bytes in all the folders of a phase, in blocks, so that a sparse file costs nothing."""

    disk_entries: int = 10_000
    """Files and folders in all: counting them must stay cheap."""

    log_bytes: int = 16 * MiB
    """Bytes printed in one phase before it counts as a flood; a line a step is far below."""

    log_kept_bytes: int = 1 * MiB
    """Bytes of a log that are kept: a quarter from its head, the rest from its tail."""

    error_characters: int = 8 * KiB
    """Characters of a failed phase's log that go into its ``Trial``: a traceback is about 2 k."""

    open_files: int = 256
    """File descriptors of each process."""

    processes: int = 64
    """Processes of a phase's tree; a data loader has a handful, a fork bomb thousands."""

    windows_per_batch: int = 128
    """Windows of one judged batch: larger ones are no faster on a CPU and widen the reach of a model that
    uses the statistics of its batch."""

    logits_per_batch: int = 1 << 26
    """Logits of one judged batch: 256 MiB of float32 in one frame, one window of 1024 at GPT-2's vocabulary.
    """

    judged_logits: int = 1_000_000_000
    """Logits of a judged split; beyond, an evenly spaced subset of its windows is judged, and that is said.
    """

    @property
    def frame_bytes(self) -> int:
        """Bytes of the largest payload a box may send: a batch of logits or a log, and a little."""
        return max(4 * self.logits_per_batch, self.log_kept_bytes) + self.log_kept_bytes + MiB

    def wall_seconds(self, cpu_seconds: float) -> float:
        """The wall limit that goes with a CPU limit."""
        return max(self.least_wall_seconds, self.wall_factor * cpu_seconds)

    def after_base(self, bill: float, judging: float | None = None) -> Limits:
        """These limits once the base's training has cost ``bill`` CPU seconds at the same budget, and judging it
        ``judging``."""
        allowed = max(self.least_train_cpu_seconds, self.slower_than_base * bill)
        most = self.judge_cpu_seconds
        if judging is not None:
            most = max(self.least_judge_cpu_seconds, self.judge_over_base * judging)
        return replace(self, train_cpu_seconds=allowed, judge_cpu_seconds=most)
