"""What the tests of this room share: the ancestor's files, and made-up tasks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darwin.agents import Task
from darwin.memory.records import AgentMemory

ROOT = Path(__file__).parents[2]
FIXED = ("data_dir", "out_dir", "seed", "max_tokens", "device")


@pytest.fixture(scope="session")
def base() -> dict[str, str]:
    return {
        name: (ROOT / "nanogpt_base" / name).read_text(encoding="utf-8") for name in ("model.py", "train.py")
    }


@pytest.fixture
def task(base: dict[str, str]) -> Callable[..., Task]:
    """A task for Ada, who knows nothing yet, on the ancestor; any field can be given."""

    def make(**fields: Any) -> Task:
        defaults: dict[str, Any] = {
            "child": "g001-ada-1",
            "attempt": 0,
            "agent": "Ada",
            "temperament": "optimizer-minded",
            "seed": 1,
            "target": "g000-base",
            "owner": "Alan",
            "files": base,
            "fixed": FIXED,
            "context": 64,
            "applied": (),
            "lessons": (),
            "own": AgentMemory(name="Ada", kind="rules", temperament="optimizer-minded"),
        }
        return Task(**(defaults | fields))

    return make


Train = Callable[[Sequence[dict[str, str]], Sequence[Sequence[str]]], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Train several genomes for a few steps each, try behaviours on each (trainer.py), and report in order."""
    folder = tmp_path_factory.mktemp("train")
    data = folder / "data"
    data.mkdir()
    tokens = np.random.default_rng(0).integers(11, size=5_000, dtype=np.uint16)
    tokens.tofile(data / "train.bin")
    (data / "meta.json").write_text(json.dumps({"vocab_size": 11}))

    def run(genomes: Sequence[dict[str, str]], behaviours: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        places = []
        for number, (files, names) in enumerate(zip(genomes, behaviours, strict=True)):
            place = folder / f"{number}-{len(list(folder.iterdir()))}"
            place.mkdir()
            for name, text in {**files, "behaviours": "\n".join(names)}.items():
                (place / name).write_text(text, encoding="utf-8")
            places.append(str(place))
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("trainer.py")), str(data), "2304", *places],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run
