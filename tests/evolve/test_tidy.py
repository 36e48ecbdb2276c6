"""What a workspace keeps as it grows, and what it says of its size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from darwin import tidy
from darwin.cli.read import log, status
from darwin.memory.records import Status
from tests.evolve.killed import in_child


def test_curves_of_those_nobody_looks_at_go_and_all_else_stays(evolved, tmp_path, monkeypatch):
    memory, run = evolved.memory, evolved.run
    artifacts = Path(shutil.copytree(evolved.workspace.artifacts, tmp_path / "artifacts"))
    for one in memory.individuals:
        (artifacts / one).mkdir(exist_ok=True, parents=True)
        (artifacts / one / "curve-20s-1001.json").write_text("[[1, 2]]")
    (artifacts / "transcripts").mkdir()
    (artifacts / "transcripts" / "curve-of-talk.json").write_text("{}")
    logs = set(artifacts.glob("*/*.log"))
    assert tidy.thin_out(artifacts, memory) == 0, "there is room enough"

    monkeypatch.setattr(tidy, "MOST_ARTIFACTS", 0)
    removed = tidy.thin_out(artifacts, memory)
    left = {p.parent.name for p in artifacts.glob("*/curve-20s-1001.json")}
    failed = {i.id for i in memory.individuals.values() if i.status is Status.FAILED}
    assert removed == len(memory.individuals) - len(left) > 0
    assert left >= {"g000-base", run.incumbent, *run.population.values(), *memory.decisions}
    assert not left & failed
    assert set(artifacts.glob("*/*.log")) == logs and logs
    assert (artifacts / "transcripts" / "curve-of-talk.json").exists()


def test_the_front_is_whom_nobody_beats_in_both(evolved):
    people = list(evolved.memory.individuals.values())
    faster = people[0].model_copy(update={"id": "faster", "trials": (people[0].trials[0].model_copy(
        update={"loss": 9.0, "mfu": 0.9}),)})  # fmt: skip
    slower = faster.model_copy(update={"id": "slower", "trials": (faster.trials[0].model_copy(
        update={"loss": 9.5, "mfu": 0.1}),)})  # fmt: skip
    names = [i.id for i in tidy.front([*people, faster, slower])]
    assert names == [min(people, key=lambda i: i.rank).id, "faster"]


def test_status_says_where_the_time_went_and_what_is_on_disk(evolved, monkeypatch):
    folder = evolved.workspace.folder
    said = json.loads(in_child(lambda: status(folder, json=True))[1])
    assert said["seconds"] == evolved.run.seconds and set(said["seconds"]) >= {"training", "judging"}
    assert said["bytes"]["git"] > 0 and said["bytes"]["memory"] > 0
    assert "On disk: " in in_child(lambda: status(folder))[1]
    monkeypatch.setattr("darwin.cli.read.PAGE", 5)
    shown = in_child(lambda: log(folder))[1]
    people = list(evolved.memory.individuals)
    assert f"The last 5 of {len(people)}. All of them: darwin log --all" in shown
    first = [line.split()[0] for line in shown.splitlines() if line[1:2].strip()]
    assert [name for name in first if name in people] == people[-5:]
