"""Leaks are found after training, honest architectures pass: run for real, on a tiny genome."""

from __future__ import annotations

import numpy as np
import pytest

from darwin.memory.records import TrialStatus
from darwin.sandbox import Dataset, judge, probe
from darwin.sandbox.trials import run_trial
from tests.tiny import job

PEAK = 1e11
STANDS = """        self.head = nn.Linear(16, vocab)

    def forward(self, tokens):
        return self.head(self.embed(tokens))
"""
NEXT = "torch.nn.functional.one_hot(tokens.roll(-1, 1), self.head.out_features).float()"


def model(parameters: str, forward: str) -> tuple[str, str]:
    body = "".join(f"        {line}\n" for line in forward.splitlines())
    more = "".join(f"        {line}\n" for line in parameters.splitlines())
    return STANDS, f"        self.head = nn.Linear(16, vocab)\n{more}\n    def forward(self, tokens):\n{body}"


LEAKS = {
    "the next token, worth about 1 % of perplexity": (
        "",
        f"return self.head(self.embed(tokens)) + 0.015 * {NEXT}",
    ),
    "the target itself": ("", f"return self.head(self.embed(tokens)) + 9 * {NEXT}"),
    "statistics of the batch": (
        "",
        "x = self.embed(tokens)\nreturn self.head((x - x.mean((0, 1))) / (0.1 + x.std((0, 1))))",
    ),
    "in evaluation only": (
        "",
        f"x = self.head(self.embed(tokens))\nreturn x if self.training else x + 0.02 * {NEXT}",
    ),
    "behind a head that begins at zero": (
        "self.gate = nn.Parameter(torch.zeros(1))",
        f"return self.head(self.embed(tokens)) + self.gate * {NEXT}",
    ),
    "the first token of the next window": (
        "",
        "x = self.head(self.embed(tokens))\nfirst = tokens[:, 0]\n"
        "same = torch.nn.functional.one_hot(first.roll(-1), self.head.out_features).float()\n"
        "return torch.cat([x[:, :-1], x[:, -1:] + same[:, None]], 1)",
    ),
}

HONEST = {
    "bigram table": (
        "self.table = nn.Embedding(vocab, vocab)",
        "return self.head(self.embed(tokens)) + self.table(tokens)",
    ),
    "token shift": (
        "",
        "x = self.embed(tokens)\nx = x + torch.nn.functional.pad(x, (0, 0, 1, -1))\nreturn self.head(x)",
    ),
    "recurrence": (
        "self.rnn = nn.GRU(16, 16, batch_first=True)",
        "return self.head(self.rnn(self.embed(tokens))[0])",
    ),
    "sliding attention": (
        "self.qkv = nn.Linear(16, 48)",
        "q, k, v = self.qkv(self.embed(tokens)).chunk(3, -1)\nT = tokens.shape[1]\n"
        "band = torch.ones(T, T, dtype=torch.bool).tril() & torch.ones(T, T, dtype=torch.bool).triu(-4)\n"
        "return self.head(torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=band))",
    ),
    "mixture of experts": (
        "self.gate = nn.Linear(16, 4)\nself.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))",
        "x = self.embed(tokens)\nchosen = self.gate(x).argmax(-1)\nout = torch.zeros_like(x)\n"
        "for number, expert in enumerate(self.experts):\n    mine = chosen == number\n"
        "    out[mine] = expert(x[mine])\nreturn self.head(x + out)",
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_of_any_size_is_disqualified(leak, dataset, shared, limits):
    trial = run_trial(job(model=model(*LEAKS[leak])), dataset, shared, PEAK, limits)
    assert (trial.status, trial.loss) == (TrialStatus.DISQUALIFIED, None), trial.error
    assert "The model leaks" in trial.error


@pytest.mark.parametrize("idea", HONEST)
def test_an_honest_architecture_passes(idea, dataset, shared, limits):
    trial = run_trial(job(model=model(*HONEST[idea])), dataset, shared, PEAK, limits)
    assert (trial.status, trial.error) == (TrialStatus.OK, None)
    assert trial.loss is not None and trial.mfu_6n > 0


def test_a_model_that_draws_at_random_is_told_from_one_that_leaks(dataset, shared, limits):
    noisy = model("", "torch.seed()\nx = self.head(self.embed(tokens))\nreturn x + 0.1 * torch.randn_like(x)")
    trial = run_trial(job(model=noisy), dataset, shared, PEAK, limits)
    assert trial.status == TrialStatus.DISQUALIFIED and "draws at random" in trial.error


def test_a_script_whose_training_changes_nothing_is_disqualified(dataset, shared, limits):
    trial = run_trial(job(train=("lr=1e-2", "lr=0.0")), dataset, shared, PEAK, limits)
    assert trial.status == TrialStatus.DISQUALIFIED and "Training changed nothing" in trial.error


def test_an_altered_batch_keeps_every_past_and_looks_like_the_split():
    tokens = np.random.default_rng(1).integers(9, size=4001).astype("<u2")
    judged = judge.windows(tokens, context=16, vocab_size=9)
    batches = list(judged.batches("a key", 50))
    altered = probe.alter(batches, judged.inputs, "a key")
    for row, (number, cut) in enumerate(zip(altered.origins, altered.cuts, strict=True)):
        before = judged.inputs[batches[number][row]]
        assert np.array_equal(altered.inputs[row, :cut], before[:cut])
        if cut < 16:
            assert altered.inputs[row, cut] != before[cut]
    assert altered.inputs.dtype == judged.inputs.dtype and altered.inputs.shape == (50, 16)
    assert set(altered.cuts.tolist()) == set(range(17)), "a peek at any one position shows"
    assert np.bincount(altered.origins).min() >= 5, "a peek in any one batch shows"


def test_a_window_is_kept_without_its_successor_where_both_were_together():
    judged = judge.windows(np.random.default_rng(1).integers(9, size=4001).astype("<u2"), 16, 9)
    batches = [np.arange(start, start + 50) for start in range(0, 250, 50)]
    altered = probe.alter(batches, judged.inputs, "a key")
    index = np.array([batches[number][row] for row, number in enumerate(altered.origins)])
    kept = index[altered.cuts == 16]
    assert len(kept) >= 4
    assert not np.isin(kept + 1, index[altered.cuts > 0]).any()


def test_what_the_probe_draws_from_takes_the_held_out_text_to_know(dataset, data_folder, tmp_path):
    for name in ("train.bin", "val.bin", "test.bin", "meta.json"):
        (tmp_path / name).write_bytes((data_folder / name).read_bytes())
    assert Dataset.load(tmp_path).key(1) == dataset.key(1) != dataset.key(2)
    with (tmp_path / "test.bin").open("r+b") as file:
        file.write(bytes(2 * 10))
    assert Dataset.load(tmp_path).key(1) != dataset.key(1)
