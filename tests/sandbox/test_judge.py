"""The loss is plain cross-entropy over fixed windows of the whole split, whatever the order they come in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darwin.sandbox import judge


@settings(max_examples=50)
@given(
    st.integers(0, 2**32), st.integers(2, 70), st.sampled_from([0.01, 1.0, 30.0]), st.sampled_from([0.0, 1e4])
)
def test_it_equals_cross_entropy(seed, vocab, scale, shift):
    random = np.random.default_rng(seed)
    logits = (scale * random.standard_normal((3, 7, vocab)) + shift).astype(np.float32)
    targets = random.integers(vocab, size=(3, 7)).astype("<u2")
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits).double().reshape(-1, vocab),
        torch.from_numpy(targets.astype(np.int64)).reshape(-1),
    )
    assert abs(judge.losses(logits, targets).mean() - expected.item()) <= 1e-6 * max(1.0, expected.item())


def test_windows_do_not_overlap_and_targets_are_the_next_tokens():
    judged = judge.windows(np.arange(13, dtype="<u2"), context=4, vocab_size=13)
    assert judged.inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert judged.targets.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    assert judged.subset is None


def test_a_split_too_large_is_judged_on_evenly_spaced_windows_and_says_so():
    judged = judge.windows(np.arange(41, dtype="<u2"), context=4, vocab_size=50, most_logits=4 * 50 * 5)
    assert judged.inputs[:, 0].tolist() == [0, 8, 16, 24, 32]
    assert judged.subset == "Judged on 5 evenly spaced windows of 10."


def test_batches_hold_every_window_once_in_an_order_of_the_key():
    judged = judge.windows(np.arange(401, dtype="<u2"), context=4, vocab_size=500)
    order = [index.tolist() for index in judged.batches("1", size=32)]
    assert [len(index) for index in order] == [32, 32, 32, 4]
    assert sorted(index for batch in order for index in batch) == list(range(100))
    assert order == [index.tolist() for index in judged.batches("1", size=32)]
    assert order != [index.tolist() for index in judged.batches("2", size=32)]


def test_the_loss_does_not_depend_on_the_order_to_the_bit():
    random = np.random.default_rng(3)
    judged = judge.windows(random.integers(9, size=801).astype("<u2"), context=8, vocab_size=9)
    logits = random.standard_normal((100, 8, 9)).astype(np.float32)
    found = set()
    for key, size in (("1", 100), ("2", 7), ("3", 1)):
        score = judge.Score(judged)
        for index in judged.batches(key, size):
            assert score.add(index, logits[index]) is None
        found.add(score.loss())
    assert len(found) == 1
    assert found.pop() == pytest.approx(judge.losses(logits, judged.targets).mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (3e38, "so large that the loss is not")],
)
def test_logits_that_make_no_loss_are_named(value, words):
    judged = judge.windows(np.arange(5, dtype="<u2"), context=4, vocab_size=5)
    logits = np.full((1, 4, 5), -value, dtype=np.float32)
    logits[..., 0] = value
    problem = judge.Score(judged).add(np.array([0]), logits)
    assert problem is not None and words in problem
