"""Agents that ask a model rewrite one another's scripts, in three styles, over the real loop, git and gateway."""

from __future__ import annotations

import json
import re

import pytest

from darwin.agents.roles import size
from darwin.loop import evolve
from darwin.memory.records import Status
from darwin.repairs import in_words, shares
from darwin.report import write
from tests.models.brain import Brain, role_of, texts
from tests.models.scripted import ScriptedServer

AGENTS = "".join(
    f'[[agent]]\nname = "{name}"\nmodel = "m"\nstyle = "{style}"\n\n'
    for name, style in (("Ada", "diff"), ("Alan", "file"), ("Barbara", "chunks"))
)


FORMS = {
    ("Ada", "researcher", "SEARCH/REPLACE"), ("Ada", "engineer", "SEARCH/REPLACE"), ("Ada", "analyst", ""),
    ("Alan", "researcher", "whole files"), ("Alan", "engineer", "whole files"), ("Alan", "analyst", ""),
    ("Barbara", "chunk", "one definition"), ("Barbara", "engineer", "SEARCH/REPLACE"), ("Barbara", "analyst", ""),
}  # fmt: skip
"""Who is asked in which role for which form of edits."""


def form_of(body) -> tuple[str, str, str]:
    """(agent, role, form of edits) of a request, by its system prompt."""
    system = texts(body)[0]
    marks = {
        "SEARCH/REPLACE blocks:": "SEARCH/REPLACE",
        "each file that changes, whole": "whole files",
        "after it the whole definition in one fence": "one definition",
    }
    (form,) = [form for words, form in marks.items() if words in system] or [""]
    return author(body), role_of(system), form


def author(body) -> str:
    """The agent that asks."""
    return re.match(r"You are (\w+)", texts(body)[0])[1]


@pytest.fixture
def agents_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(AGENTS)
    return path


def test_three_generations_in_diff_file_and_chunks_with_repairs(models, agents_file):
    brains = {name: Brain(break_every=2) for name in ("Ada", "Alan", "Barbara")}  # each breaks its own second
    with (
        ScriptedServer(lambda body: brains[author(body)](body)) as server,
        models(server, agents_file=agents_file) as run,
    ):
        evolve(run.evolution, 3)
        memory = run.evolution.memory
        children = list(memory.individuals.values())[1:]
        assert len(children) == 9
        assert {c.status for c in children} <= {Status.TRAINED, Status.FAILED}
        assert all(c.author != c.owner and c.model == "m" and c.family for c in children)
        assert {c.author for c in children} == {"Ada", "Alan", "Barbara"}
        broken = [c for c in children if c.repairs]
        assert broken and all("planted_failure" in c.repairs[0] for c in broken)
        assert all(
            "planted_failure" not in text.decode()
            for c in children
            for text in run.evolution.workspace.lineage.files(c.commit).values()
        )
        found = shares(children)
        assert (found.written, found.failing) == (
            9,
            sum(bool(c.repairs) or c.status is Status.FAILED for c in children),
        )
        assert found.repaired == sum(bool(c.repairs) and c.status is Status.TRAINED for c in children)
        assert found.repaired > 0, "or nothing shows that repairs re-enter"
        assert f"{in_words(found)}." in run.said and "repairs it, 1 of 3" in run.said
        assert {form_of(b) for b in server.requests} == FORMS
        assert max(size(b["messages"]) for b in server.requests) <= 16_000
        total = run.evolution.gateway.ledger.total()
        assert total.calls == len(server.requests)
        assert (total.prompt_tokens, total.completion_tokens) == (
            server.prompt_tokens,
            server.completion_tokens,
        )
        assert sum(c.usage.calls for c in children) == total.calls
        page = write(memory, run.evolution.workspace.lineage, run.evolution.workspace.artifacts)
        assert f"<p>{in_words(found)}.</p>" in page and f"Models: {total.calls} calls, " in page


def test_a_lesson_of_generation_1_is_in_a_prompt_of_generation_2_and_the_record_says_so(models, agents_file):
    with ScriptedServer(Brain()) as server, models(server, agents_file=agents_file) as run:
        evolve(run.evolution, 2)
        memory = run.evolution.memory
        findings = {i.id: i.finding for i in memory.individuals.values() if i.finding}
        assert findings
        for id, finding in findings.items():
            assert any(one.startswith(id + "/") for one in finding.evidence)
        later = [i for i in memory.individuals.values() if i.generation == 2]
        shown = {ref for i in later for ref in i.shown}
        cited = [
            f for f in findings.values() if memory.individuals[f.id.removeprefix("finding:")].generation == 1
        ]
        assert {f"lesson:{f.id}" for f in cited} & shown
        prompts = " ".join(b["messages"][1]["content"] for b in server.requests)
        assert any(f.text in prompts for f in cited)
        assert any(ref.startswith("prompt:researcher@2") for ref in shown)


def test_no_memory_takes_it_all_away(models, agents_file):
    with (
        ScriptedServer(Brain()) as server,
        models(server, agents_file=agents_file, control="no-memory") as run,
    ):
        evolve(run.evolution, 2)
        refs = {ref.partition(":")[0] for i in run.evolution.memory.individuals.values() for ref in i.shown}
        assert refs <= {"individual", "prompt", "technique"}
        prompts = [b["messages"][1]["content"] for b in server.requests]
        assert not any(
            "Lessons of analysts" in p or "What the trials say" in p or "What was tried" in p for p in prompts
        )
        assert not any(i.finding for i in run.evolution.memory.individuals.values())


def test_transcripts_hold_every_exchange_whole(models, agents_file, tmp_path):
    with ScriptedServer(Brain()) as server, models(server, agents_file=agents_file) as run:
        evolve(run.evolution, 1)
        lines = [
            json.loads(line)
            for path in sorted((tmp_path / "w/artifacts/transcripts").iterdir())
            for line in path.read_text().splitlines()
        ]
        assert len(lines) == len(server.requests)
        assert {line["role"] for line in lines} >= {"researcher", "analyst"}
        sent = sorted(json.dumps(body, sort_keys=True) for body in server.requests)
        assert sorted(json.dumps(line["request"], sort_keys=True) for line in lines) == sent
