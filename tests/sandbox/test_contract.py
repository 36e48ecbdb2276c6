"""genome.toml is read whole, and what is wrong with it is said in one sentence that names the key."""

from __future__ import annotations

import pytest

from darwin.sandbox import Contract, SandboxError

GOOD = """
[genome]
files = ["model.py", "train.py"]
train = "python train.py --data_dir={data} --out_dir={out} --seed={seed} --max_tokens={tokens} --device={device}"
[model]
load = "model:load"
context = 64
[data]
kind = "tokens"
"""


def test_a_contract_says_what_may_be_rewritten_and_how_it_is_run():
    contract = Contract.parse(GOOD)
    assert contract.files == ("model.py", "train.py")
    assert (contract.load, contract.context, contract.kind) == ("model:load", 64, "tokens")
    assert contract.arguments(seed=3, tokens=1000, device="cpu") == [
        "train.py", "--data_dir=../data", "--out_dir=../out", "--seed=3", "--max_tokens=1000", "--device=cpu",
    ]  # fmt: skip


def test_the_settings_that_a_trial_sets_are_known_in_either_spelling():
    names = {"data_dir", "out_dir", "seed", "max_tokens", "device"}
    assert Contract.parse(GOOD).settings_set_by_trial == names
    apart = GOOD.replace("--seed={seed}", "--seed {seed}").replace("--max_tokens=", "--max-tokens=")
    assert Contract.parse(apart).settings_set_by_trial == names
    more = GOOD.replace("[genome]", '[genome]\nfixed = ["max_iters"]')
    assert Contract.parse(more).settings_set_by_trial == names | {"max_iters"}
    assert "--seed" in Contract.parse(apart).arguments(seed=3, tokens=1000, device="cpu")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[genome]", "[genome", "genome.toml is not TOML"),
        ('files = ["model.py", "train.py"]', "", "genome.files: missing"),
        ('["model.py", "train.py"]', "[]", "genome.files: expected a list of file names"),
        ('["model.py", "train.py"]', "[1]", "genome.files: expected file names, got 1"),
        ('"model.py", ', '"../model.py", ', 'genome.files: "../model.py" is not a plain relative path'),
        ('"model.py", ', '"/model.py", ', 'genome.files: "/model.py" is not a plain relative path'),
        ('"model.py", ', '"train.py", ', "genome.files: names a file twice"),
        ("context = 64", "context = 64\nwidth = 3", "model.width: an unknown key; [model] has load, context"),
        ("[data]", "[more]\n[data]", "more: an unknown table; the tables are genome, model, data"),
        ("context = 64", "context = true", "model.context: expected a whole number of tokens"),
        ("context = 64", "context = 0", "model.context: expected a whole number of tokens"),
        (
            'kind = "tokens"',
            'kind = "pictures"',
            'data.kind: "pictures" is not known; the only kind is "tokens"',
        ),
        ('"model:load"', '"model"', 'model.load: "model" is not "module:callable"'),
        ('"model:load"', "3", "model.load: expected a text, got 3"),
        ("python train.py", "bash train.sh", "genome.train: "),
        (
            "python train.py",
            "python /tmp/train.py",
            'genome.train: "/tmp/train.py" is not a plain relative path',
        ),
        ("--seed={seed}", "", "genome.train: the placeholder {seed} is missing"),
        ("[genome]", "[genome]\nfixed = 3", "genome.fixed: expected a list of names of settings, got 3"),
        ("{tokens}", "5", "genome.train: the placeholder {tokens} is missing"),
        ("{tokens}", "{iters}", "genome.train: {iters} cannot be used, since budgets are in tokens"),
        ("{seed}", "{sead}", "genome.train: {sead} is an unknown placeholder; the placeholders are {data}"),
        ("--seed={seed}", "--seed='{seed}", "genome.train: cannot be split into words"),
    ],
)
def test_a_bad_contract_is_refused_by_the_name_of_its_key(old, new, words):
    assert old in GOOD
    with pytest.raises(SandboxError) as caught:
        Contract.parse(GOOD.replace(old, new, 1))
    assert words in str(caught.value) and "\n" not in str(caught.value)
