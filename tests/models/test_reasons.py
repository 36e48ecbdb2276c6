"""What a person said no to, and why, stands in the next prompts: after a rejection, and after a merge taken back."""

from __future__ import annotations

from darwin import gate
from darwin.briefing import brief
from darwin.loop import evolve, next_births
from tests.command import darwin
from tests.models.brain import Brain, role_of, texts
from tests.models.scripted import ScriptedServer


def proposals(server) -> list[str]:
    """What the models that were to rewrite a script were told."""
    return [user for system, user in map(texts, server.requests) if role_of(system) == "researcher"]


def test_the_reason_of_a_rejection_is_in_every_next_prompt_and_in_none_before(models, tmp_path):
    with ScriptedServer(Brain(99)) as server:
        with models(server, agents="rules:3,openai:2", approve="defer") as run:
            evolve(run.evolution, 2)
            contender = gate.waiting(run.evolution.memory)[-1]
            assert not any("because:" in user for user in proposals(server))
            server.requests.clear()
            said = darwin(
                "review", "--reject", contender.id, "--reason", "too slow on our GPU", "-C", "w", cwd=tmp_path
            )
            assert said.returncode == 0 and "is rejected by Eve." in said.stdout
        with models(server, agents="rules:3,openai:2", approve="defer") as again:
            evolve(again.evolution, 3)
            told = proposals(server)
            assert told
            for user in told:
                assert f"reject of {contender.id}, because: too slow on our GPU" in user
            born = [i for i in again.evolution.memory.individuals.values() if i.generation == 3 and i.model]
            assert born and all(f"decision:{contender.id}" in i.shown for i in born)


def test_the_reason_of_a_merge_taken_back_is_in_the_next_prompts_too(models, tmp_path):
    with ScriptedServer(Brain(99)) as server:
        with models(server, agents="rules:3,openai:2", approve="defer") as run:
            evolve(run.evolution, 2)
            contender = gate.waiting(run.evolution.memory)[-1]
            server.requests.clear()
            for command in (
                ("review", "--approve", contender.id),
                ("revert", "main", "--reason", "breaks on two GPUs"),
            ):
                assert darwin(*command, "-C", "w", cwd=tmp_path).returncode == 0
        with models(server, agents="rules:3,openai:2", approve="defer") as again:
            evolve(again.evolution, 3)
            told = proposals(server)
            assert told
            assert all(f"revert of {contender.id}, because: breaks on two GPUs" in user for user in told)


def test_a_decision_is_told_from_the_next_birth_on_and_to_none_before(models, tmp_path):
    """What a birth is told hangs on its number, so that a killed run writes the same prompts again."""
    with ScriptedServer(Brain(99)) as server:
        with models(server, agents="rules:3,openai:2", approve="defer") as run:
            evolve(run.evolution, 2)
            memory = run.evolution.memory
            contender = gate.waiting(memory)[-1]
            assert darwin("review", "--reject", contender.id, "-C", "w", cwd=tmp_path).returncode == 0
        with models(server, agents="rules:3,openai:2", approve="defer") as again:
            settled = again.evolution.memory.decisions[contender.id].settled
            birth = next_births(again.evolution, 3)[0]
            told = [brief(again.evolution, birth, before).decisions for before in (settled, settled + 1)]
            assert [contender.id in {d.id for d in decisions} for decisions in told] == [False, True]
