"""A replay is the run that was recorded: its answers, its failures of every kind, its limits and its end."""

from __future__ import annotations

import json

import pytest

from darwin.agents.errors import ModelsStopped
from darwin.agents.ledger import Allowance
from darwin.agents.transcripts import Call, Recording
from darwin.loop import evolve
from tests.models.brain import Brain, role_of, texts
from tests.models.scripted import ScriptedServer, failure


def fates(run) -> dict[str, tuple]:
    """What became of every individual."""
    return {
        i.id: (i.tree, i.status, i.reason, i.unusable, i.repairs, i.finding)
        for i in run.evolution.memory.individuals.values()
    }


def exchanges(run) -> list[dict]:
    return list(run.evolution.gateway.transcripts.all())


def test_a_replay_gives_the_same_scripts_without_a_model(models, tmp_path):
    with ScriptedServer(Brain(3)) as server, models(server, agents="openai:3") as run:
        evolve(run.evolution, 2)
        first, calls = fates(run), len(server.requests)
    recording = tmp_path / "w/artifacts/transcripts"
    with models(None, folder="again", replay=recording, agents="openai:3") as replayed:
        evolve(replayed.evolution, 2)
        assert fates(replayed) == first
        assert replayed.evolution.gateway.ledger.total().calls == 0
        assert len(exchanges(replayed)) == calls
        with pytest.raises(ModelsStopped, match="no further answer for g003"):
            evolve(replayed.evolution, 3)


def test_a_prompt_too_long_a_limit_and_a_lost_endpoint_are_replayed_as_they_were(models, tmp_path):
    brain, asked = Brain(3), []

    def script(body):
        system, user = texts(body)
        if role_of(system) == "researcher" and "Published ideas that may fit" in user:
            return failure(400, "too much", code="context_length_exceeded")
        asked.append(body)
        return brain(body) if len(asked) <= 9 else failure(503, "gone")

    with ScriptedServer(script) as server, models(server, agents="openai:3") as run:
        run.evolution.gateway.ledger._each = {"Ada": Allowance(calls=2)}
        evolve(run.evolution, 9)
        first, generation = fates(run), run.evolution.run.generation
        stopped, kinds = run.evolution.gateway.stopped, [e["response"].get("kind") for e in exchanges(run)]
        assert {"context", "limit", "unavailable"} <= set(kinds)
        assert "left 3 questions in a row unanswered" in stopped and run.evolution.cut_short
        assert f"Stopping here: {stopped}" in run.said
    with models(
        None, folder="again", replay=tmp_path / "w/artifacts/transcripts", agents="openai:3"
    ) as again:
        evolve(again.evolution, 9)
        assert (fates(again), again.evolution.run.generation) == (first, generation)
        assert (again.evolution.gateway.stopped, again.evolution.cut_short) == (stopped, True)
        assert f"Stopping here: {stopped}" in again.said
        assert [e["response"].get("kind") for e in exchanges(again)] == kinds
        assert again.evolution.gateway.ledger.total().calls == 0


def test_the_limit_of_all_ends_a_replay_where_it_ended_the_run(models, tmp_path):
    with ScriptedServer(Brain(99)) as server, models(server, agents="openai:2") as run:
        run.evolution.gateway.ledger._whole = Allowance(calls=5)
        evolve(run.evolution, 5)
        first, stopped = fates(run), run.evolution.gateway.stopped
        assert "limit of 5 calls" in stopped and len(server.requests) == 5
    with models(
        None, folder="again", replay=tmp_path / "w/artifacts/transcripts", agents="openai:2"
    ) as again:
        evolve(again.evolution, 5)
        assert (fates(again), again.evolution.gateway.stopped) == (first, stopped)
        assert not again.evolution.cut_short and "Stopping here: the limit of 5 calls" in again.said


def test_a_key_that_was_refused_in_the_middle_stops_a_replay_there(models, tmp_path):
    with ScriptedServer(Brain(99)) as server, models(server, agents="openai:2") as run:
        evolve(run.evolution, 1)
        server.key = "sk-another"
        with pytest.raises(ModelsStopped) as stopped:
            evolve(run.evolution, 2)
    with models(
        None, folder="again", replay=tmp_path / "w/artifacts/transcripts", agents="openai:2"
    ) as again:
        with pytest.raises(ModelsStopped) as replayed:
            evolve(again.evolution, 2)
        assert str(replayed.value) == str(stopped.value) and again.evolution.run.generation == 1


def test_a_failure_that_was_asked_again_and_answered_is_no_part_of_a_recording(tmp_path):
    """A killed run leaves the one and gets the other when it goes on."""
    common = {"agent": "Ada", "child": "c", "role": "researcher", "model": "m", "request": {}, "usage": None}
    lines = [
        {**common, "digest": "1", "status": 0, "response": {"error": "gone", "kind": "unavailable"}},
        {**common, "digest": "1", "status": 200, "response": {"choices": []}},
        {**common, "digest": "2", "status": 0, "response": {"error": "gone"}},
    ]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recording = Recording(tmp_path)
    found = [recording.answer(Call("c", "researcher")) for _ in range(3)]
    assert [one and one["status"] for one in found] == [200, 0, None]
