"""What a run did, and where its time went, can be read afterwards."""

from __future__ import annotations

import json

from darwin.events import Events
from darwin.loop import evolve
from darwin.sandbox import Job
from darwin.tables import time_in_words
from tests.evolve.laboratory import PHASES, start

STEPS = {
    *("evolve", "measure_noise", "bear", "write", "promoted", "measure", "look_twice", "analyse", "settle"),
    *("attend", "meet", "review", "thin", "check", "compare", "ask", "tidy", "calibrate", *PHASES),
}


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "run.log").read_text().splitlines()]


def test_every_step_is_in_the_log_with_its_duration(evolved):
    found = lines(evolved.workspace.folder)
    begun = [line["begin"] for line in found if "begin" in line]
    ended = [line for line in found if "end" in line and line["end"] != "trial"]
    assert set(begun) == STEPS
    assert sorted(begun) == sorted(line["end"] for line in ended)
    assert all(line["seconds"] >= 0 and line["at"].endswith("+00:00") for line in ended)
    trials = {
        (i.id, t.seed, t.split, t.budget) for i in evolved.memory.individuals.values() for t in i.trials
    }
    told = [tuple(line[key] for key in ("individual", "seed", "split", "budget")) for line in found
            if line.get("end") == "trial"]  # fmt: skip
    assert sorted(told) == sorted(trials)


def test_where_the_time_went_adds_up(tmp_path):
    now = [0.0]
    events = Events(tmp_path / "run.log", clock=lambda: now[0])
    job = Job("g001-ada-1", {}, 1, None, "1ktok")

    def passing(seconds: float) -> None:
        now[0] += seconds

    def evaluate(jobs):
        for one in jobs:
            for phase, seconds in (("start", 1.0), ("smoke", 2.0), ("train", 30.0), ("judge", 4.0)):
                events.phase(one, phase)
                passing(seconds)
            yield one, type("T", (), {"split": "val", "status": "ok"})()

    with events.step("bear"):
        passing(0.5)
        with events.step("write", individual=job.label):
            passing(5.0)
            with events.step("smoke", individual=job.label):
                passing(3.0)
    with events.step("measure"):
        list(events.followed(evaluate)([job]))
    with events.step("person"):
        passing(60.0)
    found = events.taken()
    assert found == {
        "thinking": 5.0, "starting": 6.0, "training": 30.0, "judging": 4.0, "waiting for a person": 60.0,
    }  # fmt: skip
    assert events.taken() == {}
    words = time_in_words(found)
    assert words.startswith("Time of all workers: 1.8 min: waiting for a person 57%, training 29%")


def test_seconds_are_kept_in_the_run_and_go_on_adding_up(data, tmp_path):
    evolution = start(tmp_path / "w", data, agents="rules:3")
    evolve(evolution, 1)
    first = evolution.run.seconds
    assert set(first) == {"starting", "training", "probing", "judging", "thinking"}
    again = start(tmp_path / "w", data)
    evolve(again, 2)
    assert all(again.run.seconds[kind] >= seconds for kind, seconds in first.items())
    assert again.run.seconds["thinking"] > first["thinking"]


def test_the_log_says_where_a_killed_run_was_even_if_its_last_line_is_torn(tmp_path):
    path = tmp_path / "run.log"
    dead = Events(path)
    assert dead.unfinished() is None
    open_steps = [dead.step("evolve"), dead.step("measure")]
    for one in open_steps:
        one.__enter__()
    with dead.step("bear"):
        pass
    dead.phase(Job("g001-ada-1", {}, 1, None, "1ktok"), "train")
    with path.open("a") as file:
        file.write('{"at": "2026')
    assert Events(path).unfinished() == "train of g001-ada-1"

    alive = Events(path)
    with alive.step("settle"):
        pass
    last = path.read_text().splitlines()[-3:]
    assert last[0] == '{"at": "2026' and json.loads(last[1])["begin"] == "settle"


def test_the_log_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("darwin.events.MOST_BYTES", 2000)
    events = Events(tmp_path / "run.log")
    for _ in range(100):
        with events.step("settle"):
            pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.log", "run.log.1"]
    assert all(p.stat().st_size <= 2000 for p in tmp_path.iterdir())
