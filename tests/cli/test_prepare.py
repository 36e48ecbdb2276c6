"""Data: what is written, once, and for whom."""

from __future__ import annotations

import json

import numpy as np
import pytest

from darwin.corpus import _speeches
from darwin.errors import UsageError
from darwin.prepare import prepare
from darwin.sandbox import Dataset


def test_a_text_becomes_three_splits_by_position_that_decode_to_it(tmp_path):
    text = "Ünïcode, to be or not to be\n" * 500
    (tmp_path / "a.txt").write_text(text)
    folder = prepare(text=tmp_path / "a.txt")
    meta = json.loads((folder / "meta.json").read_text())
    parts = [np.fromfile(folder / f"{split}.bin", dtype="<u2") for split in ("train", "val", "test")]

    assert "".join(meta["chars"][t] for t in np.concatenate(parts)) == text
    assert [len(p) for p in parts] == [12600, 700, 700]
    assert meta["vocab_size"] == len(set(text)) and meta["kind"] == "tokens"
    assert meta["bytes_per_token"] == pytest.approx(len(text.encode()) / len(text))


def test_preparing_twice_costs_nothing_and_a_changed_text_is_another_data_set(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("to be or not to be\n" * 1000)
    first = prepare(text=file)
    stamp = (first / "train.bin").stat().st_mtime_ns
    assert prepare(text=file) == first and (first / "train.bin").stat().st_mtime_ns == stamp
    file.write_text("not to be\n" * 2000)
    assert prepare(text=file) != first


def test_data_that_were_cut_short_or_lost_are_prepared_anew(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("to be or not to be\n" * 1000)
    folder = prepare(text=file)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "train.bin").write_bytes(whole["train.bin"][:100])
    (folder / "val.bin").unlink()
    assert prepare(text=file) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    (folder / "meta.json").write_text("[]")
    assert prepare(text=file) == folder and len(Dataset.load(folder).splits) == 3


def test_a_folder_of_texts_is_joined_in_order(tmp_path):
    (tmp_path / "b.md").write_text("b" * 6000)
    (tmp_path / "a.txt").write_text("a" * 6000)
    (tmp_path / "c.bin").write_bytes(b"\xff")
    folder = prepare(text=tmp_path)
    assert json.loads((folder / "meta.json").read_text())["tokens"]["train"] == int(12002 * 0.9)


def test_nanogpts_own_files_are_taken_and_val_is_split_where_there_is_no_test(tmp_path):
    rng = np.random.default_rng(0)
    rng.integers(0, 50, 20000).astype("<u2").tofile(tmp_path / "train.bin")
    rng.integers(0, 50, 2000).astype("<u2").tofile(tmp_path / "val.bin")
    folder = prepare(data=tmp_path)
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["tokens"] == {"train": 20000, "val": 1000, "test": 1000}
    assert meta["vocab_size"] == 50 and meta["bytes_per_token"] is None
    assert Dataset.load(folder).bytes_per_token is None
    (tmp_path / "val.bin").write_bytes(b"odd")
    with pytest.raises(UsageError, match="not a file of uint16"):
        prepare(data=tmp_path)


def test_stage_directions_and_headings_go_and_names_stay():
    play = "# Title\n\n## ACT I\n\n_Enter\nKing_\n\n**First Lord**  \nSay, [_aside_] well\\--met.  \nAy.\n\n_Exit_\n"
    assert _speeches(play) == "FIRST LORD:\nSay, well--met.\nAy."
