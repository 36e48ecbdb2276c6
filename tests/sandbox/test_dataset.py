"""A data folder is opened whole or refused in one sentence; equal seeds get equal data."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from darwin.sandbox import Dataset, SandboxError


@pytest.fixture
def folder(data_folder, tmp_path):
    return shutil.copytree(data_folder, tmp_path / "data")


def test_a_folder_is_opened_with_its_three_splits(dataset):
    assert {split: len(tokens) for split, tokens in dataset.splits.items()} == {
        "train": 10_000, "val": 1_000, "test": 1_001,
    }  # fmt: skip
    assert (dataset.name, dataset.vocab_size, dataset.bytes_per_token) == ("tiny", 24, 1.0)


def test_the_digest_is_of_the_bytes(dataset, folder):
    assert Dataset.load(folder).digest == dataset.digest
    tokens = np.fromfile(folder / "val.bin", dtype="<u2")
    tokens[0] ^= 1
    tokens.tofile(folder / "val.bin")
    assert Dataset.load(folder).digest != dataset.digest


def test_rotation_keeps_every_token_and_follows_seed_and_salt(dataset):
    one = np.frombuffer(dataset.rotated(1), dtype="<u2")
    train = dataset.splits["train"]
    starts = [start for start in range(len(train)) if train[start] == one[0]]
    assert any(np.array_equal(np.roll(train, -start), one) for start in starts)
    assert dataset.rotated(1) == one.tobytes()
    assert (
        len({dataset.rotated(1), dataset.rotated(2), dataset.rotated(1, "a"), dataset.rotated(1, "b")}) == 4
    )


def test_what_a_script_reads_does_not_tell_the_sizes_of_other_splits(folder):
    meta = json.loads((folder / "meta.json").read_text()) | {"tokens": {"val": 3}}
    (folder / "meta.json").write_text(json.dumps(meta))
    assert set(json.loads(Dataset.load(folder).meta_for_training())) == set(meta) - {"tokens"}


def _write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def _meta(**changes):
    def change(folder):
        path = folder / "meta.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "val.bin").unlink(), "val.bin cannot be read: No such file"),
        (lambda folder: (folder / "meta.json").unlink(), "meta.json cannot be read: No such file"),
        (_write("meta.json", b"{"), "meta.json is not JSON"),
        (_write("meta.json", b"[]"), '"kind" must be "tokens"'),
        (_write("val.bin", b"123"), "val.bin has an odd size of 3 bytes"),
        (_write("val.bin", b""), "val.bin is empty"),
        (_write("test.bin", b"\x18\x00" * 50), "holds token 24, but meta.json says vocab_size 24"),
        (_meta(kind="pictures"), '"kind" must be "tokens"'),
        (_meta(vocab_size=0), '"vocab_size" must be a whole number from 1 to 65536, not 0'),
        (_meta(bytes_per_token=0), '"bytes_per_token" must be a number above 0 or null, not 0'),
    ],
)
def test_a_damaged_folder_is_refused_by_the_name_of_its_file(folder, damage, words):
    damage(folder)
    with pytest.raises(SandboxError, match=words):
        Dataset.load(folder)


def test_a_split_shorter_than_a_window_is_refused(folder):
    (folder / "val.bin").write_bytes(b"\x00\x00" * 16)
    dataset = Dataset.load(folder)
    dataset.require(15)
    with pytest.raises(SandboxError, match=r"val\.bin has 16 tokens, too few for one window of 16"):
        dataset.require(16)
