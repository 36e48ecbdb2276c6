"""Where cheats and honest oddities are run for real: a shrunk base, a small language, one warm sandbox.

Each case is a handful of edits of ``nanogpt_base``. A cheat is run as it is, and what caught it is asked; then it is
run once more with the audits off, or with what it was after in its hands (``granted``), to see what it would have won.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from darwin import verdicts
from darwin.begin import ANCESTOR
from darwin.lineage import read_genome
from darwin.measure import with_trial
from darwin.memory.records import Individual, Outcome, Status, Trial, TrialStatus
from darwin.sandbox import Dataset, Job, Limits
from darwin.sandbox.box import Sandbox
from darwin.sandbox.judging import Judge
from darwin.sandbox.pace import Pace
from darwin.sandbox.trials import run_job

Edits = tuple[tuple[str, str, str], ...]
"""(file, anchor that occurs once, what stands there instead)."""

LETTERS = "abcdefghijklmnopqrstuvwx"
CONTEXT, TOKENS, SEEDS = 16, 12_288, (1, 2, 3)
SMALL: Edits = (
    ("train.py", "n_layer = 4\n", "n_layer = 1\n"),
    ("train.py", "n_head = 4\n", "n_head = 2\n"),
    ("train.py", "n_embd = 128\n", "n_embd = 32\n"),
    ("train.py", "block_size = 64\n", "block_size = 16\n"),
    ("train.py", "learning_rate = 1e-3\n", "learning_rate = 1e-2\n"),
    ("genome.toml", "context = 64\n", "context = 16\n"),
)
LIMITS = Limits(
    smoke_tokens=512, smoke_cpu_seconds=2, train_cpu_seconds=3, probe_cpu_seconds=3, judge_cpu_seconds=0.5,
    least_wall_seconds=20, wall_factor=4, memory_bytes=300 << 20, disk_bytes=8 << 20, disk_entries=100,
    log_bytes=1 << 20, log_kept_bytes=64 << 10, checkpoint_bytes=2 << 20, windows_per_batch=32,
)  # fmt: skip
PEAK = 1e11


@dataclass(frozen=True)
class Cheat:
    """A genome that cheats. ``tries`` says what, ``by`` names what has to catch it (a method of ``Arena``), ``words``
    must stand in its record. ``granted``: edits that have what it was after (None: the same, audits off); ``claims``
    is the perplexity it says it has, where it only lies. ``process`` is False where that provider does not stop it.
    """

    tries: str
    edits: Edits
    by: str
    words: str = ""
    granted: Edits | None = None
    claims: float | None = None
    process: bool = True
    budget: str = "12ktok"


@dataclass(frozen=True)
class Found:
    """What caught a cheat (None: nothing did), and what perplexity it would have gained, as a share of the base's."""

    by: str | None
    gain: float | None


@dataclass
class Arena:
    """One sandbox, one data set, and trials of edited bases in it."""

    sandbox: Sandbox
    folder: Path
    _bases: dict[int, list[Trial]] = field(default_factory=dict)

    @cached_property
    def dataset(self) -> Dataset:
        """A second-hand language of 24 letters: the next one is mostly a function of the last one, or of the last two;
        the first is soon learnt, the second takes longer."""
        random = np.random.default_rng(7)
        one, two = random.permutation(len(LETTERS)), random.integers(len(LETTERS), size=(len(LETTERS),) * 2)
        tokens = [0, 1]
        for draw, chance in zip(
            random.random(24_382), random.integers(len(LETTERS), size=24_382), strict=True
        ):
            last = one[tokens[-1]] if draw < 0.45 else two[tokens[-2], tokens[-1]]
            tokens.append(int(last if draw < 0.8 else chance))
        parts = np.split(np.array(tokens, dtype="<u2"), [20_000, 22_320])
        for split, part in zip(("train", "val", "test"), parts, strict=True):
            part.tofile(self.folder / f"{split}.bin")
        meta = {"kind": "tokens", "name": "arena", "vocab_size": len(LETTERS), "bytes_per_token": 1.0}
        (self.folder / "meta.json").write_text(json.dumps({**meta, "chars": [*LETTERS]}))
        return Dataset.load(self.folder)

    @cached_property
    def decoy(self) -> Path:
        """A workspace that looks like one, for who wants to write into it."""
        workspace = self.folder / "workspace"
        for name in (".git/HEAD", "memory/run.json"):
            (workspace / name).parent.mkdir(parents=True)
            (workspace / name).write_text("as it was")
        return workspace

    def files(self, edits: Edits) -> dict[str, bytes]:
        """The shrunk base with the edits in it; ``@NAME@`` stands for what a cheat is supposed to know."""
        files = {name: content.decode() for name, content in read_genome(ANCESTOR).items()}
        for name, anchor, text in (*SMALL, *edits):
            assert files[name].count(anchor) == 1, (name, anchor)
            for mark, value in self._secrets.items():
                text = text.replace(mark, value)
            files[name] = files[name].replace(anchor, text)
        return {name: text.encode() for name, text in files.items()}

    def run(
        self, edits: Edits, seed: int = 1, budget: str = "12ktok", limits: Limits = LIMITS, **more: Any
    ) -> list[Trial]:
        """The trials of an edited base: on validation, and on what ``further`` says."""
        tokens = TOKENS if budget == "12ktok" else None
        job = Job("base", self.files(edits), seed, tokens, budget)
        return run_job(replace(job, **more), self.dataset, self.sandbox, PEAK, limits)

    def base(self, seed: int = 1) -> list[Trial]:
        """The unedited base's, on both splits, once a seed."""
        if seed not in self._bases:
            self._bases[seed] = self.run((), seed, further=("test",))
        return self._bases[seed]

    def attempt(self, cheat: Cheat) -> Found:
        """Run a cheat; what caught it, and what it would have won."""
        return Found(self.caught(cheat), self.gain(cheat))

    def caught(self, cheat: Cheat) -> str | None:
        """What caught it, in the words of its record; None if nothing did."""
        found: str | None = getattr(self, f"by_{cheat.by}")(cheat)
        return found

    def gain(self, cheat: Cheat) -> float | None:
        """Share of perplexity that it would have won with the audits off and what it was after in its hands."""
        base = self.base()[0]
        assert base.loss is not None and base.perplexity is not None
        if cheat.claims is not None:
            return cheat.claims / base.perplexity - 1
        with unaudited():
            edits = cheat.edits if cheat.granted is None else cheat.granted
            limits = replace(LIMITS, judge_cpu_seconds=60, train_cpu_seconds=20)
            loss = self.run(edits, limits=limits)[0].loss
        return None if loss is None else float(np.expm1(loss - base.loss))

    def by_audit(self, cheat: Cheat) -> str | None:
        """An audit disqualifies it."""
        trial = self.run(cheat.edits)[0]
        return _told(trial, cheat) if trial.status is TrialStatus.DISQUALIFIED else None

    def by_bounds(self, cheat: Cheat) -> str | None:
        """It fails: on a bound, or on the protocol."""
        trial = self.run(cheat.edits, budget=cheat.budget)[0]
        Trial.model_validate_json(trial.model_dump_json())  # whatever it said can be recorded
        return None if trial.status in (TrialStatus.OK, TrialStatus.DISQUALIFIED) else _told(trial, cheat)

    def by_nothing_there(self, cheat: Cheat) -> str | None:
        """It finds nothing, gains nothing: the same loss as without it, to the bit."""
        same = self.run(cheat.edits)[0].loss == self.base()[0].loss
        same &= all(path.read_text() == "as it was" for path in self.decoy.rglob("*") if path.is_file())
        return "nothing there: the base's loss, to the bit" if same else None

    def by_bill(self, cheat: Cheat) -> str | None:
        """Its bill tells: no verdict in favour of who trained for longer."""
        pairs = []
        for seed in SEEDS[1:]:
            (mine, *_), (theirs, *_) = self.run(cheat.edits, seed), self.base(seed)
            assert mine.loss and theirs.loss and mine.seconds and theirs.seconds, mine.error
            pairs.append(verdicts.Pair(seed, mine.loss, theirs.loss, (mine.seconds, theirs.seconds)))
        pairs *= 3  # as many as an approval takes: what they say of the bill is the same
        verdict = verdicts.judge("base", pairs, verdicts.Spread(1e-6, 99))
        return _bill(verdict.note) if verdict.outcome is Outcome.UNDECIDED else None

    def by_fresh_seeds(self, cheat: Cheat) -> str | None:
        """It is no better than the base on seeds that did not choose it."""
        pairs = []
        for seed in SEEDS:
            (mine, *_), (theirs, *_) = self.run(cheat.edits, seed), self.base(seed)
            assert mine.loss is not None and theirs.loss is not None, mine.error
            pairs.append(verdicts.Pair(seed, mine.loss, theirs.loss))
        losses = [self.base(seed)[0].loss for seed in SEEDS]
        known = verdicts.Spread(float(np.sqrt(2) * np.std([x for x in losses if x is not None], ddof=1)), 20)
        verdict = verdicts.judge("base", pairs, known)
        return None if verdict.outcome is Outcome.BETTER else f"fresh paired seeds: {verdict.outcome}"

    def by_test_split(self, cheat: Cheat) -> str | None:
        """What it knows of the validation split does not help on the test split."""
        (val, test), (base_val, base_test) = self.run(cheat.edits, further=("test",)), self.base()
        assert val.loss is not None and test.loss is not None, val.error
        assert base_val.loss is not None and base_test.loss is not None
        won = val.loss - base_val.loss < -0.1 and test.loss - base_test.loss > -0.005
        return f"the test split: {np.expm1(test.loss - base_test.loss):+.1%} there" if won else None

    def by_one_failure(self, cheat: Cheat) -> str | None:
        """Who fails on one seed has failed: only scripts that end on every seed are compared."""
        mine = Individual(
            id="mine",
            ordinal=1,
            generation=1,
            commit="",
            tree="",
            code="",
            operator="mutation",
            parents=("base",),
        )
        base = Individual(id="base", ordinal=0, generation=0, commit="", tree="", code="", operator="base")
        for seed in range(1, 9):
            mine = with_trial(mine, self.run(cheat.edits, seed)[0], {"base": base})
            if mine.status is not Status.TRAINED:
                break
        later = mine.status is Status.FAILED and len(mine.trials) > 1
        return f"one failed seed: {mine.status}, {mine.reason}" if later else None

    def by_larger_budget(self, cheat: Cheat) -> str | None:
        """A run that takes far longer than its budget does not count, though its tokens were known."""
        job = Job("base", self.files(cheat.edits), 1, TOKENS, "0.2s")
        patient = replace(LIMITS, train_cpu_seconds=10)
        trial = run_job(job, self.dataset, self.sandbox, PEAK, patient, pace=Pace(None))[0]
        return _told(trial, cheat) if trial.status is TrialStatus.OVER_BUDGET else None

    @cached_property
    def _secrets(self) -> Mapping[str, str]:
        texts = {
            split: "".join(LETTERS[token] for token in self.dataset.splits[split])
            for split in ("train", "val")
        }
        val = texts["val"]
        return {
            "@VAL@": val,
            "@VAL85@": base64.b85encode(val.encode()).decode(),
            "@NUMBERS@": repr([LETTERS.index(letter) for letter in val[::-1]]),
            "@PIECES@": repr([val[at : at + 20] for at in range(0, len(val), 20)]),
            "@TRAIN@": texts["train"][5000:5400],
            "@VALPATH@": str(self.folder / "val.bin"),
            "@WORKSPACE@": str(self.decoy),
            "@WEIGHTS@": repr(np.random.default_rng(1).normal(size=8000).tolist()),
        }


@contextmanager
def unaudited() -> Iterator[None]:
    """Trials without audits, to see what a cheat would win."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(Judge, "_refuse_leak", lambda *_: None))
        stack.enter_context(patch("darwin.sandbox.trials.carries", lambda *_: None))
        yield


def _told(trial: Trial, cheat: Cheat) -> str | None:
    """The first sentence of what is recorded, if it says what it should."""
    error = trial.error or ""
    return error.partition("\n")[0] if cheat.words in error else None


def _bill(note: str | None) -> str | None:
    return "the bill: no verdict for who trained longer" if note and "trained for longer" in note else None
