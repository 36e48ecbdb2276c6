"""A trial from start to end under the real provider: what it measures, and that it is the same every time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import psutil
import pytest
import torch

from darwin.memory.records import TrialStatus
from darwin.sandbox import Job, SandboxError, evaluate
from darwin.sandbox.pace import Pace
from darwin.sandbox.trials import run_job, run_smoke, run_trial
from tests.tiny import TOKENS, VOCAB, job, tiny_files

PEAK = 1e11


@pytest.fixture(scope="module")
def events():
    return []


@pytest.fixture(scope="module")
def trial(dataset, sandbox, limits, events):
    return run_trial(job(), dataset, sandbox, PEAK, limits, on_metrics=events.append)


def test_a_trial_learns_and_is_measured_from_outside(trial):
    assert (trial.status, trial.error, trial.phase) == (TrialStatus.OK, None, None)
    assert (trial.seed, trial.split, trial.budget, trial.tokens) == (1, "val", "8ktok", TOKENS)
    assert trial.loss < 0.9 * np.log(VOCAB)
    assert trial.perplexity == pytest.approx(np.exp(trial.loss))
    assert trial.bits_per_byte == pytest.approx(trial.loss / np.log(2))
    assert trial.parameters == VOCAB * 16 + 16 * VOCAB + VOCAB
    assert trial.flops_per_token == 3 * 2 * 16 * VOCAB  # the head's products, forward and twice backward
    assert trial.tokens_per_second == pytest.approx(TOKENS / trial.seconds)
    assert trial.mfu == pytest.approx(trial.flops_per_token * trial.tokens_per_second / PEAK)
    assert 0 < trial.seconds < trial.cpu_seconds
    assert 0 <= trial.peak_memory < 100e6  # not torch, which is imported before


def test_peak_memory_is_what_the_script_took(dataset, shared, limits):
    held = ("# anchor: settings", "held = b'x' * (64 << 20); import time; time.sleep(0.3)")
    assert 64e6 < run_trial(job(train=held), dataset, shared, PEAK, limits).peak_memory < 160e6


def test_the_phases_come_in_order_and_the_live_curve_in_between(trial, events):
    assert [event["phase"] for event in events if event["event"] == "phase"] == [
        "start", "smoke", "train", "probe", "judge",
    ]  # fmt: skip
    metrics = [event for event in events if event["event"] == "metrics"]
    assert metrics[-1]["tokens"] == TOKENS
    assert all(before["step"] < after["step"] for before, after in pairwise(metrics))


def test_the_loss_is_that_of_the_model_on_the_whole_split(dataset, trial, shared, limits, tmp_path):
    """The same training done here, by the book."""
    files = tiny_files()
    data = torch.from_numpy(np.frombuffer(dataset.rotated(1), dtype="<u2").astype(np.int64))
    scope: dict = {"__name__": "model"}
    exec(files["model.py"], scope)
    torch.manual_seed(1)
    model = scope["Tiny"](VOCAB)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(TOKENS // 256):
        window = data[step * 256 % (len(data) - 257) :][:257]
        loss = torch.nn.functional.cross_entropy(model(window[None, :-1])[0], window[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    val = torch.from_numpy(dataset.splits["val"].astype(np.int64))[: 62 * 16 + 1]
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(model(val[None, :-1])[0], val[1:])
    assert trial.loss == pytest.approx(expected.item(), abs=2e-5)


def test_equal_seeds_are_equal_to_the_bit_whatever_the_number_of_workers(dataset, sandbox, limits, trial):
    jobs = [job("same"), job("seed", seed=2), job("salted", salt="g001-ada-1")]
    results = evaluate(jobs, dataset, sandbox, workers=2, peak_flops=PEAK, limits=limits)
    found = {done.label: result.loss for done, result in results}
    assert found["same"] == trial.loss
    assert len(set(found.values())) == 3


def test_one_worker_keeps_the_order_and_the_numbers(dataset, shared, limits, trial):
    jobs = [job("first"), job("bad", train="1 / 0"), job("last")]
    told = []
    found = list(
        evaluate(
            jobs, dataset, shared, workers=1, peak_flops=PEAK, limits=limits,
            on_event=lambda which, event: told.append((which.label, event["event"])),
        )
    )  # fmt: skip
    assert [done.label for done, _ in found] == ["first", "bad", "last"]
    assert [result.loss for _, result in found] == [trial.loss, None, trial.loss]
    assert {label for label, _ in told} == {"first", "bad", "last"}


def test_the_test_split_is_another_number(dataset, shared, limits, trial):
    other = run_trial(job(split="test"), dataset, shared, PEAK, limits)
    assert other.split == "test" and other.loss != trial.loss


def test_a_salt_changes_the_seed_that_the_script_gets():
    assert job().training_seed == 1
    assert job(salt="x").training_seed == job(salt="x").training_seed != job(salt="y").training_seed
    assert 0 <= job(salt="x").training_seed < 2**31


def test_a_script_that_never_seeds_is_reproducible_too(dataset, sandbox, shared, limits):
    """Global generators are seeded and hashes fixed: what it draws and how it walks through a set are the same."""
    chance = (
        "import random, zlib; torch.manual_seed(zlib.crc32(repr((random.random(), {*'abcdefgh'})).encode()))"
    )
    changed = job(train=("torch.manual_seed(seed)", chance))
    first = run_trial(changed, dataset, sandbox, PEAK, limits)
    assert first.loss is not None
    assert first.loss == run_trial(changed, dataset, shared, PEAK, limits).loss


def test_a_smoke_run_answers_for_a_few_steps_only(dataset, shared, limits):
    fine = run_smoke(job(), dataset, shared, limits)
    assert (fine.status, fine.loss, fine.tokens) == (TrialStatus.OK, None, limits.smoke_tokens)
    broken = run_smoke(job(train="import nothing_of_that_name"), dataset, shared, limits)
    assert (broken.status, broken.phase) == (TrialStatus.CRASHED, "smoke")
    assert "ModuleNotFoundError" in broken.error


def test_a_genome_without_a_contract_is_our_mistake(dataset, shared, limits):
    with pytest.raises(SandboxError, match=r"stray has no genome\.toml"):
        run_trial(Job("stray", {"train.py": b""}, 1, TOKENS, "8ktok"), dataset, shared, PEAK, limits)
    files = {**tiny_files(), "../elsewhere.py": b""}
    with pytest.raises(SandboxError, match="not a plain relative path"):
        run_trial(Job("stray", files, 1, TOKENS, "8ktok"), dataset, shared, PEAK, limits)


def test_leaving_early_closes_every_box(dataset, sandbox, limits):
    before = psutil.Process().children(recursive=True)
    slow = ("# anchor: settings", "import time; time.sleep(1000)")
    jobs = [job("slow-1", train=slow), job("crash", train="1 / 0"), job("slow-2", train=slow)]
    patient = replace(limits, least_wall_seconds=300)
    results = evaluate(jobs, dataset, sandbox, workers=2, peak_flops=PEAK, limits=patient)
    assert next(results)[0].label == "crash"
    results.close()
    assert psutil.Process().children(recursive=True) == before


def test_our_own_failure_is_raised_once(dataset, limits):
    class Broken:
        name = "broken"

        def open(self, label, limits):
            raise SandboxError("No engine answers.")

        def close(self):
            pass

    with pytest.raises(SandboxError, match="No engine answers"):
        list(evaluate([job(), job()], dataset, Broken(), workers=2, peak_flops=PEAK, limits=limits))


def test_a_trial_under_a_time_budget_is_repeated_from_its_record_to_the_bit(dataset, sandbox, limits):
    """The clock finds the tokens once; they are in the record, and from then on no clock is involved."""
    pace = Pace(None)
    patient = replace(limits, train_cpu_seconds=20, least_wall_seconds=60)
    timed = replace(job("timed"), tokens=None, budget="0.5s")
    assert pace.settle() is None
    run_trial(timed, dataset, sandbox, PEAK, patient, pace=pace)
    assert pace.settle() > 0
    first = run_trial(timed, dataset, sandbox, PEAK, patient, pace=pace)
    if first.status is TrialStatus.OVER_BUDGET:
        pytest.skip("the machine is too busy for a budget of half a second")
    assert first.status is TrialStatus.OK and first.slowdown > 0
    again = run_trial(replace(timed, tokens=first.tokens), dataset, sandbox, PEAK, patient)
    assert (again.loss, again.tokens) == (first.loss, first.tokens)


def test_a_run_that_would_take_many_times_its_budget_is_stopped_on_its_way(dataset, shared, limits):
    """Its parent was a thousand times faster, so it would run into the bound on CPU seconds."""
    patient = replace(limits, train_cpu_seconds=8, least_wall_seconds=120)
    parent = 100_000_000
    timed = replace(job("slower"), tokens=None, budget="0.5s", parent_tokens=parent)
    phases = []
    trial = run_trial(timed, dataset, shared, PEAK, patient, "cpu", phases.append, Pace(None))
    assert trial.status in (TrialStatus.OK, TrialStatus.OVER_BUDGET), trial
    assert trial.tokens < parent / 10
    assert sum(e.get("phase") == "train" for e in phases) >= 2


def test_flops_are_the_models_products_not_its_tables_nor_its_optimizers(dataset, shared, limits, trial):
    table = (
        "        self.head = nn.Linear(16, vocab)\n\n"
        "    def forward(self, tokens):\n"
        "        return self.head(self.embed(tokens))",
        "        self.head = nn.Linear(16, vocab)\n        self.table = nn.Embedding(16384, 16)\n\n"
        "    def forward(self, tokens):\n"
        "        return self.head(self.embed(tokens) + self.table(tokens * 600))",
    )
    looked_up = run_trial(job(model=table), dataset, shared, PEAK, replace(limits, checkpoint_bytes=4 << 20))
    assert looked_up.flops_per_token == trial.flops_per_token
    assert looked_up.parameters == trial.parameters + 16384 * 16
    work = (
        "    optimizer.step()\n",
        "    optimizer.step()\n    torch.mm(torch.ones(64, 64), torch.ones(64, 64))\n",
    )
    assert run_trial(job(train=work), dataset, shared, PEAK, limits).flops_per_token == trial.flops_per_token


def test_further_splits_are_judged_after_the_same_training(dataset, shared, limits, trial):
    both = run_job(replace(job(), further=("test",)), dataset, shared, PEAK, limits)
    assert [t.split for t in both] == ["val", "test"]
    assert both[0].loss == trial.loss != both[1].loss
    assert both[0].seconds == both[1].seconds
