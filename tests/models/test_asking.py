"""An agent that asks a model asks people too: in its answer's head, checked, told what came of it."""

from __future__ import annotations

import json

from darwin.loop import evolve
from darwin.memory.records import Status
from darwin.memory.requests import Kind, State
from tests.models.brain import Brain, data_of, role_of, texts
from tests.models.scripted import ScriptedServer
from tests.people.test_everyday import darwin

ASKED = "What was asked of the people who run this"


def wishing(**wishes):
    """A brain whose proposals carry a request, by the agent's name."""
    brain = Brain(99)

    def script(body):
        system, _ = texts(body)
        answer = brain(body)
        if role_of(system) != "researcher":
            return answer
        wish = next((w for name, w in wishes.items() if f"You are {name.title()}," in system), None)
        head = answer[answer.index("{") : answer.index("}") + 1]
        return answer.replace(head, json.dumps({**json.loads(head), "request": wish}), 1)

    return script


def test_a_models_request_is_filed_with_its_child_and_the_answer_is_in_every_later_prompt(
    models, tmp_path, monkeypatch
):
    einops = {"kind": "Package", "wanted": "einops", "reason": "shorter\x1b code", "expected_log_perplexity": -0.03,
              "evidence": ["g000-base", "made-up"]}  # fmt: skip
    with ScriptedServer(wishing(ada=einops, alan="please")) as server:
        with models(server, agents="openai:2") as run:
            evolve(run.evolution, 1)
            memory = run.evolution.memory
            children = [i for i in memory.individuals.values() if i.author]
            assert {i.status for i in children} <= {Status.TRAINED, Status.FAILED}, (
                "a bad request costs no child"
            )
            (request,) = memory.requests.values()
            assert (request.kind, request.state, request.askers) == (Kind.PACKAGE, State.OPEN, ("Ada",))
            asking = request.askings[0]
            assert asking.evidence == ("g000-base",) and asking.expected.log_perplexity == -0.03
            assert "\x1b" not in asking.reason and "Ada asks for the package einops" in run.said
        deny = ("requests", "deny", request.id, "--reason", "torch.einsum does it", "-C", tmp_path / "w")
        assert darwin(monkeypatch, *deny) == 0
        before = len(server.requests)
        with models(server, agents="openai:2") as run:
            evolve(run.evolution, 2)
            assert [r.state for r in run.evolution.memory.requests.values()] == [State.DENIED]
        prompts = [texts(b) for b in server.requests[before:]]
        told = [data_of(user)[ASKED] for system, user in prompts if role_of(system) == "researcher"]
        assert told and all("denied, because: torch.einsum does it" in text for text in told)
