"""A planted failure, run for real in the process sandbox, is repaired from its own traceback."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from darwin.births import bear
from darwin.loop import next_births
from darwin.memory.records import Status
from darwin.noise import measure_noise
from darwin.sandbox import Dataset, Limits
from darwin.sandbox.trials import run_smoke
from tests.models.brain import Brain, data_of, role_of, texts
from tests.models.scripted import ScriptedServer


def test_the_engineer_gets_the_real_traceback(models, data, sandbox):
    with ScriptedServer(Brain(1)) as server, models(server, agents="openai:2") as run:
        evolution = run.evolution
        measure_noise(evolution)
        evolution.smoke = partial(
            run_smoke, dataset=Dataset.load(Path(data)), sandbox=sandbox, limits=Limits()
        )
        births = next_births(evolution, 1)[:1]
        child = bear(evolution, births)[0]
    engineer = next(b for b in server.requests if role_of(texts(b)[0]) == "engineer")
    error = data_of(texts(engineer)[1])["the error"]
    assert "Traceback (most recent call last)" in error and "train.py" in error
    assert "NameError: name 'planted_failure' is not defined" in error
    assert child.status is Status.BORN and len(child.repairs) == 1 and "NameError" in child.repairs[0]
    assert b"planted_failure" not in evolution.workspace.lineage.files(child.commit)["train.py"]
