"""The agents of a run, ready to be asked."""

from __future__ import annotations

from darwin.agents.agent import Agent, Launch
from darwin.agents.chat import ChatAgent
from darwin.agents.gateway import Gateway
from darwin.agents.inside.main import answer
from darwin.agents.members import Member, Members, members
from darwin.agents.prompts import Prompts
from darwin.agents.rules import RulesAgent

TRUSTED = ("rules",)
"""Kinds whose edits ship with darwin; what any other kind writes, nobody has seen."""


def roster(
    wanted: str | Members,
    launch: Launch = lambda name: answer,
    gateway: Gateway | None = None,
    prompts: Prompts | None = None,
) -> tuple[Agent, ...]:
    """The agents of a specification such as ``rules:6``, or of the members that one has named.

    ``launch`` says how each is asked: in a container of its own, or here; ``gateway`` leads to the models.

    Raises AgentError for a specification that cannot be read.
    """
    found = members(wanted) if isinstance(wanted, str) else wanted
    return tuple(_agent(member, launch, gateway, prompts or Prompts()) for member in found.members)


def _agent(member: Member, launch: Launch, gateway: Gateway | None, prompts: Prompts) -> Agent:
    ask = launch(member.name)
    if member.kind == "openai":
        return ChatAgent(member, ask, gateway, prompts)
    return RulesAgent(member.name, member.temperament, ask=ask)
