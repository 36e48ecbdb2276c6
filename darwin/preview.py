"""``darwin evolve --dry-run``: first prompts, and what a run would cost; nothing is asked, trained or kept."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
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
from darwin.agents.roles import size
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
from darwin.screen import Screen, counted
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
    """Print the messages of each asking agent's first call, and an estimate. ``given`` are the options, over a
    workspace's own."""
    words = hint.read_text(encoding="utf-8", errors="replace") if hint else ""
    if is_workspace(folder):
        workspace = open_workspace(folder)
        workspace = replace(workspace, config=check(override(workspace.config, given)))
        if workspace.memory.begun:
            found = members_of(workspace.config, folder)
            _require_asking(found)
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
        _require_asking(found)
        beginning.cards(found)
        made = beginning.create(Path(place) / "w", check(config), genome, agents)
        _show(found, _first(made, found, words), 0, generations, screen, folder / "prompts")


def _require_asking(found: Members) -> None:
    if not found.asking:
        raise UsageError(
            "--dry-run prints models' first prompts, and no agent asks one. Give --agents openai:2 too."
        )


def _show(
    found: Members, tasks: Sequence[Task], done: int, generations: str, screen: Screen, prompts: Path
) -> None:
    priced = {seat.agent: seat.price for seat in seats(found)}
    births = parse_generations(generations, done) - done
    calls, number = births * CALLS, len(found.asking)  # calls of each agent
    sizes, costs = [], []
    for member, task in zip(found.asking, tasks, strict=True):
        messages = ChatAgent(member, ask=lambda task: {}, prompts=Prompts(prompts)).first_prompt(task)
        for message in messages:
            screen.say(f"--- {member.name} ({member.model}): {message['role']} ---", "bold")
            screen.say(message["content"])
        tokens, price = size(messages), priced[member.name]
        sizes.append(tokens)
        costs.append(None if price is None else price.of(round(calls * tokens), round(calls * ANSWER_TOKENS)))
    cost = None if None in costs else sum(c for c in costs if c is not None)
    screen.say("--- estimate ---", "bold")
    screen.say(
        f"About {sum(sizes) // number:,} tokens in such a prompt. {births * number} children by "
        f"{counted(number, 'agent')} that ask a model, about {CALLS:g} calls each: {calls * number:,.0f} calls, "
        f"{calls * sum(t + ANSWER_TOKENS for t in sizes):,.0f} tokens, about {dollars(cost)}. "
        "Nothing was asked, nothing was spent."
    )


def _first(workspace: Workspace, found: Members, hint: str) -> list[Task]:
    """A task of each agent that asks a model, on the base as it is before anything was measured."""
    base = workspace.memory.resolve("base")
    files = workspace.lineage.files(base.commit)
    contract = Contract.parse(files["genome.toml"].decode())
    briefing = Briefing(budget=workspace.config.budget, larger=LARGER, base=base, target=base, hint=hint)
    return [
        Task(
            child=f"g001-{agent.name.lower()}-1", attempt=0, agent=agent.name, temperament=agent.temperament,
            seed=workspace.config.seed, target=base.id,
            owner=next(m.name for m in found.members if m.name != agent.name), files=evolvable(files),
            fixed=tuple(sorted(contract.settings_set_by_trial)), context=contract.context, applied=(), lessons=(),
            own=AgentMemory(name=agent.name, kind=agent.kind, temperament=agent.temperament), briefing=briefing,
        )
        for agent in found.asking
    ]  # fmt: skip


def _next(workspace: Workspace, found: Members) -> list[Task]:
    """A task of each agent that asks a model, as the records stand: its own next birth where that is in the next
    batch, else the batch's first as if it were its own."""
    agents = {a.name: a for a in roster(found)}
    evolution = Evolution(
        workspace, agents, lambda jobs: iter(()), Defer(), Screen(), Curves(workspace.artifacts)
    )
    births = next_births(evolution, workspace.memory.run.generation + 1)
    before = births[0].ordinal
    known, tasks = outlook(evolution, before), []
    for member in found.asking:
        own = next((b for b in births if b.author == member.name), None)
        birth = own or replace(births[0], author=member.name)
        tasks.append(
            replace(task_for(evolution, birth, before, known), briefing=brief(evolution, birth, before))
        )
    return tasks


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
