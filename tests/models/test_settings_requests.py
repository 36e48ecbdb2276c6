"""Agents in the style for small models ask people for what they lack, by the same schema as their changes."""

from __future__ import annotations

import json

import pytest

from darwin.loop import evolve
from darwin.memory.requests import Kind, State
from tests.models.brain import Brain, data_of, role_of, texts
from tests.models.scripted import ScriptedServer
from tests.people.test_everyday import darwin

SMALL = "".join(
    f'[[agent]]\nname = "{name}"\nmodel = "m"\nstyle = "settings"\n\n' for name in ("Ada", "Alan")
)
LARGER = {"kind": "budget", "wanted": "x2", "reason": "learning rates fade\x1b[2J in longer runs"}


def choosing(request: object):
    """A small model: another of the offered values each time, and a request."""
    taken: list[object] = []

    def answer(body):
        if role_of(texts(body)[0]) != "settings":
            return Brain()(body)
        kinds = body["response_format"]["json_schema"]["schema"]["properties"]["changes"]["items"]["anyOf"]
        one = kinds[len(taken) % len(kinds)]["properties"]
        taken.append(one)
        change = {"setting": one["setting"]["const"], "value": one["value"]["enum"][0]}
        return json.dumps({
            "changes": [change], "hypothesis": "it may help", "expected_log_perplexity": -0.01, "request": request,
        })  # fmt: skip

    return answer


@pytest.fixture
def agents_file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_small_models_request_is_filed_once_and_its_answer_is_in_the_next_prompts(
    models, agents_file, tmp_path, monkeypatch
):
    with ScriptedServer(choosing(LARGER)) as server, models(server, agents_file=agents_file) as run:
        evolve(run.evolution, 1)
        request = run.evolution.memory.requests["budget-40ktok"]
        assert (request.kind, request.state, request.askers) == (Kind.BUDGET, State.OPEN, ("Ada", "Alan"))
        reason = request.askings[0].reason
        assert reason.startswith("learning rates fade") and "\x1b" not in reason
        properties = server.requests[0]["response_format"]["json_schema"]["schema"]["properties"]
        offered = properties["request"]["anyOf"][1]["properties"]["kind"]["enum"]
        assert offered == ["dataset", "package", "file", "layout", "budget"]
    assert darwin(monkeypatch, "requests", "deny", "budget", "--reason", "no time", "-C", tmp_path / "w") == 0
    with ScriptedServer(choosing(LARGER)) as server, models(server, agents_file=agents_file) as run:
        evolve(run.evolution, 2)
        assert run.evolution.memory.requests["budget-40ktok"].state is State.DENIED
        small = [texts(b)[1] for b in server.requests if role_of(texts(b)[0]) == "settings"]
        told = [data_of(user)["What was asked of the people who run this"] for user in small]
        assert told and all("denied, because: no time" in text for text in told)


@pytest.mark.parametrize(
    "request_", [None, {"kind": "wish", "wanted": "x", "reason": "y"}, "more", {"kind": "file"}]
)
def test_no_request_and_one_that_means_nothing_cost_no_answer(models, agents_file, request_):
    with ScriptedServer(choosing(request_)) as server, models(server, agents_file=agents_file) as run:
        evolve(run.evolution, 1)
        assert run.evolution.memory.requests == {}
        asked = [b for b in server.requests if role_of(texts(b)[0]) == "settings"]
        assert len(asked) == sum(i.settings != {} for i in run.evolution.memory.individuals.values()) == 2
