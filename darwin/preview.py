"""``darwin evolve --dry-run``: the first prompt and what a run would cost; nothing is asked, trained or kept."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from darwin import begin as beginning
from darwin.agents import Task, roster
from darwin.agents.briefing import Briefing
from darwin.agents.chat import ChatAgent
from darwin.agents.members import FILE, Members
from darwin.agents.members import read as read_members
from darwin.agents.prompts import Prompts
from darwin.agents.tokens import count
from darwin.births import outlook, task_for
from darwin.briefing import brief
from darwin.config import Config, check, override, parse_generations
from darwin.curves import Curves
from darwin.errors import UsageError
from darwin.evolution import Evolution
from darwin.genome import evolvable
from darwin.loop import next_births
from darwin.memory.records import AgentMemory
from darwin.models import HINT, members_of, seats
from darwin.reviewers import Defer
from darwin.sandbox import Contract
from darwin.sandbox.budget import LARGER
from darwin.screen import Screen
from darwin.spending import dollars
from darwin.workspace import Workspace, is_workspace, open_workspace

ANSWER_TOKENS = 1500
"""Tokens of one answer, for the estimate: a JSON head and a few blocks, or the thoughts of a model that thinks."""

CALLS = 2.5
"""Calls a child, for the estimate: one to propose, one to analyse, and half a repair or a second try."""


def preview(
    folder: Path,
    config: Config,
    given: dict[str, Any],
    genome: Path,
    agents: Path | None,
    hint: Path | None,
    generations: str,
    screen: Screen,
) -> None:
    """Print the messages of the first call and an estimate. ``given`` are the options, over a workspace's own."""
    words = hint.read_text(encoding="utf-8", errors="replace") if hint else ""
    if is_workspace(folder):
        workspace = open_workspace(folder)
        workspace = replace(workspace, config=check(override(workspace.config, given)))
        if workspace.memory.begun:
            found = members_of(workspace.config, folder)
            _show(
                found,
                _next(workspace, found),
                workspace.memory.run.generation,
                generations,
                screen,
                folder / "prompts",
            )
            return
        words = words or _text(folder / HINT)
        config, agents = workspace.config, (folder / FILE if workspace.config.agents == FILE else None)
    with tempfile.TemporaryDirectory() as place:
        found = read_members(agents) if agents is not None else members_of(check(config), Path(place))
        beginning.cards(found)
        made = beginning.create(Path(place) / "w", check(config), genome, agents)
        _show(found, _first(made, found, words), 0, generations, screen, folder / "prompts")


def _show(found: Members, task: Task, done: int, generations: str, screen: Screen, prompts: Path) -> None:
    member = next((m for m in found.asking if m.name == task.agent), None)
    if member is None:
        raise UsageError(
            "--dry-run prints a model's first prompt, and no agent asks one. Give --agents openai:2 too."
        )
    agent = ChatAgent(member, ask=lambda task: {}, prompts=Prompts(prompts))
    messages = agent.first_prompt(task)
    for message in messages:
        screen.say(f"--- {message['role']} ---", "bold")
        screen.say(message["content"])
    tokens = sum(count(message["content"]) for message in messages)
    prices = {seat.agent: seat.price for seat in seats(found)}
    births = (parse_generations(generations, done) - done) * len(found.asking)
    price = prices[member.name]
    cost = None if price is None else price.of(round(tokens * CALLS), round(ANSWER_TOKENS * CALLS)) * births
    screen.say("--- estimate ---", "bold")
    screen.say(
        f"About {tokens:,} tokens in this prompt. {births} children by {len(found.asking)} agents that ask a model, "
        f"about {CALLS:g} calls each: {births * CALLS:,.0f} calls, "
        f"{births * CALLS * (tokens + ANSWER_TOKENS):,.0f} tokens, about {dollars(cost)}. "
        "Nothing was asked, nothing was spent."
    )


def _first(workspace: Workspace, found: Members, hint: str) -> Task:
    """The task of the first agent that asks a model, on the base as it is before anything was measured."""
    base = workspace.memory.resolve("base")
    files = workspace.lineage.files(base.commit)
    contract = Contract.parse(files["genome.toml"].decode())
    agent = found.asking[0] if found.asking else found.members[0]
    return Task(
        child=f"g001-{agent.name.lower()}-1", attempt=0, agent=agent.name, temperament=agent.temperament,
        seed=workspace.config.seed,
        target=base.id, owner=next(m.name for m in found.members if m.name != agent.name), files=evolvable(files),
        fixed=tuple(sorted(contract.settings_set_by_trial)), context=contract.context, applied=(), lessons=(),
        own=AgentMemory(name=agent.name, kind=agent.kind, temperament=agent.temperament),
        briefing=Briefing(budget=workspace.config.budget, larger=LARGER, base=base, target=base, hint=hint),
    )  # fmt: skip


def _next(workspace: Workspace, found: Members) -> Task:
    """The task of the next birth by an agent that asks a model, as the records stand."""
    agents = {a.name: a for a in roster(found)}
    evolution = Evolution(
        workspace, agents, lambda jobs: iter(()), Defer(), Screen(), Curves(workspace.artifacts)
    )
    births = next_births(evolution, workspace.memory.run.generation + 1)
    asking = {m.name for m in found.asking}
    birth = next((b for b in births if b.author in asking), births[0])
    if birth.author not in asking and found.asking:
        birth = replace(birth, author=found.asking[0].name)
    task = task_for(evolution, birth, birth.ordinal, outlook(evolution, birth.ordinal))
    return replace(task, briefing=brief(evolution, birth, birth.ordinal))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
