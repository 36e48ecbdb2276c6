"""Text from a model: the same for equal seeds, in the data's tokens, and from a box like any other."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from darwin.sandbox.sampling import sample
from darwin.sandbox.session import Failed
from tests.tiny import VOCAB, job


def test_a_model_goes_on_from_a_prompt_as_it_was_trained_to(shared, dataset, limits):
    prompt = [int(token) for token in dataset.splits["val"][:40]]
    texts = [list(sample(job(), dataset, shared, limits, prompt, 10, 0.05)) for _ in range(2)]
    assert texts[0] == texts[1] and len(texts[0]) == 10
    assert all(0 <= token < VOCAB for token in texts[0])
    train = dataset.splits["train"].tolist()
    seen = Counter(pairwise(train))
    followed = list(pairwise(texts[0]))
    often = sum(seen[pair] > 100 for pair in followed)
    assert often > 0.7 * len(followed), "a model that is sure writes what it has seen often"


def test_a_script_that_crashes_gives_no_text(shared, dataset, limits):
    with pytest.raises(Failed, match="no text today"):
        list(sample(job(train="raise SystemExit('no text today')\n"), dataset, shared, limits, [1], 5, 1.0))
