"""No request is longer than its bound, whatever models answer, scripts fail with, or the population holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from darwin.agents.chat import ChatAgent
from darwin.agents.members import Member
from darwin.agents.roles import Part, fitted, size
from darwin.agents.tokens import count
from darwin.births import outlook, task_for
from darwin.briefing import brief
from darwin.loop import evolve, next_births
from darwin.memory.records import TrialStatus
from tests.evolve.laboratory import start
from tests.models.brain import Brain, role_of, texts
from tests.models.scripted import ScriptedServer

BOUND = 16_000
AGENTS = "".join(
    f'[[agent]]\nname = "{name}"\nmodel = "m"\nstyle = "{style}"\n\n'
    for name, style in (("Ada", "diff"), ("Alan", "file"), ("Barbara", "chunks"), ("Claude", "settings"))
)


def test_every_request_of_a_bad_day_keeps_its_bound(models, tmp_path):
    """Answers that cannot be used have 60,000 characters, reasons 4,000, and tracebacks half a million."""
    (tmp_path / "mine.toml").write_text(AGENTS)
    brain, junk = Brain(1), "I would rather write a poem about it. " * 1600
    asked: dict[str, int] = {}

    def script(body):
        system, role = texts(body)[0], role_of(texts(body)[0])
        who = f"{system.partition(',')[0]} {role}"
        asked[who] = asked.get(who, 0) + 1
        if asked[who] % 3 or role == "settings":
            return junk
        answer = brain(body).replace("A shorter warm-up wastes less.", "It may help. " * 300)
        if role == "chunk" and asked[who] % 2:
            return answer.replace("```python", "```python\nimport os\n" + "# " + "long " * 8000)
        return answer.replace("g001-", "g009-") if role == "analyst" and asked[who] % 2 else answer

    with (
        ScriptedServer(script) as server,
        models(server, agents_file=tmp_path / "mine.toml") as run,
    ):
        smoke = run.evolution.smoke

        def loud(job):
            trial = smoke(job)
            noise = "".join(f'  File "model.py", line {n}, in forward\n' for n in range(14_000))
            return (
                trial
                if trial.status is TrialStatus.OK
                else trial.model_copy(update={"error": noise + trial.error})
            )

        run.evolution.smoke = loud
        evolve(run.evolution, 2)
    sizes = [(role_of(texts(b)[0]), len(b["messages"]), size(b["messages"])) for b in server.requests]
    assert {role for role, _, _ in sizes} >= {"researcher", "engineer", "analyst", "chunk", "settings"}
    assert {"researcher", "engineer", "analyst", "chunk", "settings"} <= {r for r, n, _ in sizes if n > 2}
    assert max(n for r, n, _ in sizes if r == "chunk") == 6, "asked again within what was asked again"
    for role, _, tokens in sizes:
        assert tokens <= (2_000 if role == "settings" else BOUND), (role, tokens)


def test_a_prompt_is_flat_in_population(data, tmp_path):
    sizes = {}
    for population in (4, 12):
        evolution = start(tmp_path / str(population), data, agents=f"rules:{population}", budget="20ktok")
        evolve(evolution, 2)
        birth = next_births(evolution, 3)[0]
        task = task_for(evolution, birth, birth.ordinal, outlook(evolution, birth.ordinal))
        task = replace(task, briefing=brief(evolution, birth, birth.ordinal))
        agent = ChatAgent(Member(birth.author, "openai", "bold", "m"), ask=lambda task: {})
        sizes[population] = size(agent.first_prompt(task))
    assert max(sizes.values()) <= BOUND and abs(sizes[12] - sizes[4]) <= 0.1 * sizes[4], sizes


@pytest.mark.parametrize("tokens", [0, 10, 100, 1_000, 10_000])
def test_what_is_cut_fits_and_the_most_important_comes_first(tokens):
    parts = [
        Part("last", "x\n" * 3000, 900, rank=3),
        Part("error", "\n".join(f"line {n}" for n in range(2000)) + "\nNameError: x", 500, rank=0, end=True),
        Part("one line", "word " * 4000, 300),
    ]
    kept = fitted(parts, tokens)
    assert sum(count(text) for _, text in kept) <= tokens + 6 * len(kept)
    assert [title for title, _ in kept] == [p.title for p in parts if p.title in dict(kept)]
    if tokens >= 10:
        assert "NameError: x" in dict(kept)["error"]
    if tokens == 10_000:
        assert 250 <= count(dict(kept)["one line"]) <= 306 and len(kept) == 3
