"""A disk that fills: one sentence, exit 1, and nothing that was announced is lost; with room again the run goes on."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from darwin.check import problems
from darwin.memory import memory as memory_module
from darwin.memory import notes as notes_module
from darwin.memory import store as store_module
from darwin.workspace import open_workspace
from tests.evolve.killed import run
from tests.evolve.test_evolve import story
from tests.exhaustive import few

GENERATIONS = 2
FIRST, MORE, LEAST = 600, 120, 3
"""KiB of the disk at first and given after each failure, and how many failures there must be."""

MEASURED = re.compile(r"^(g\d+-\w+-\d|g000-base) +perplexity ([\d.]+)", re.M)
SENTENCE = "No space left on device"
REMEDY = "What was said is kept: make room, then give the same command again."


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("whole") / "w"
    assert run(folder, text, GENERATIONS)[0] == 0
    return story(folder)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds next to nothing."""
    folder = tmp_path / "small"
    folder.mkdir()
    size = f"size={FIRST}k"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("needs to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def announced(folder: Path, said: str) -> None:
    """Every trial that was said is in the records, as it was said."""
    people = open_workspace(folder).memory.individuals
    for name, perplexity in MEASURED.findall(said):
        known = {f"{t.perplexity:.3f}" for t in people[name].trials if t.perplexity is not None}
        assert perplexity in known, f"{name} at {perplexity} was announced and is lost"


def test_a_full_disk_stops_the_run_in_one_sentence_and_more_room_lets_it_go_on(small, whole, text):
    folder, size, failures = small / "w", FIRST, 0
    while True:
        status, said = run(folder, text, GENERATIONS)
        if status == 0:
            break
        failures += 1
        last = said.strip().splitlines()[-1]
        assert status == 1 and last.startswith("darwin: ") and SENTENCE in last, said
        assert "Traceback" not in said
        if (folder / "darwin.toml").exists():
            announced(folder, said)
        size += MORE
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(small)], check=True)
    assert failures >= LEAST
    assert story(folder) == whole
    assert problems(open_workspace(folder)) == []


WRITES = {
    "a record's object": (notes_module, "store_object"),
    "a transaction of refs": (memory_module, "move_refs"),
    "a JSON file": (store_module, "write_atomically"),
}


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("count", few([1, 2, 7, 20], 7))
def test_each_kind_of_write_may_find_the_disk_full(whole, text, tmp_path, kind, count):
    module, name = WRITES[kind]
    genuine, left = getattr(module, name), [count]

    def full(*arguments: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return genuine(*arguments)

    folder = tmp_path / "w"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, full)
        status, said = run(folder, text, GENERATIONS)
    last = said.strip().splitlines()[-1]
    assert (status, last) == (1, f"darwin: {SENTENCE}. {REMEDY}")
    if folder.exists():
        announced(folder, said)
    assert run(folder, text, GENERATIONS)[0] == 0
    assert story(folder) == whole
    shutil.rmtree(folder)
