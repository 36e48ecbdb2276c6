"""Agents that ask for things, over the laboratory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from darwin.agents import Agent, Proposal, Task
from darwin.evolution import Evolution
from darwin.memory.requests import Wish
from tests.evolve.laboratory import data_set, start

Answering = Callable[[Task, Proposal], Proposal]


class Asker:
    """An agent whose proposals another function may still change; it keeps its tasks."""

    def __init__(self, agent: Agent, change: Answering, tasks: list[Task]) -> None:
        self.name, self.kind, self.temperament = agent.name, agent.kind, agent.temperament
        self._agent, self._change, self._tasks = agent, change, tasks

    def propose(self, task: Task) -> Proposal:
        self._tasks.append(task)
        return self._change(task, self._agent.propose(task))


@pytest.fixture
def data(clean_environment: Path, tmp_path: Path) -> Path:
    return data_set(tmp_path)


@pytest.fixture
def asking(data: Path, tmp_path: Path) -> Callable[..., tuple[Evolution, list[Task]]]:
    """``asking(change)``: an evolution whose agents' proposals ``change`` has gone over, and their tasks."""

    def begun(change: Answering, folder: str = "w", **settings) -> tuple[Evolution, list[Task]]:
        options = {"agents": "rules:4", "approve": "defer", "budget": "20ktok", **settings}
        evolution, tasks = start(tmp_path / folder, data, **options), []
        agents = {name: Asker(agent, change, tasks) for name, agent in evolution.agents.items()}
        evolution.agents = agents
        return evolution, tasks

    return begun


def wishing(**wishes: Wish) -> Answering:
    """Each named agent asks for its wish with every child."""

    def change(task: Task, proposal: Proposal) -> Proposal:
        return replace(proposal, wish=wishes.get(task.agent.lower()))

    return change
