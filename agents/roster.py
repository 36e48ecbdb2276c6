"""The agents of a run, from a short specification: rules:6."""

from __future__ import annotations

from darwin.agents.agent import Agent, Launch
from darwin.agents.errors import AgentError
from darwin.agents.inside.main import answer
from darwin.agents.inside.rules import TEMPERAMENTS
from darwin.agents.rules import RulesAgent

NAMES = (
    *("Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Frances", "Grace"),
    *("Hedy", "Ivan", "John", "Katherine", "Leslie", "Margaret", "Niklaus", "Ole"),
    *("Peter", "Radia", "Shafi", "Tony", "Vint", "Whitfield", "Yukihiro", "Zohar"),
)


TRUSTED = ("rules",)
"""Kinds whose edits ship with darwin; what any other kind writes, nobody has seen."""


def roster(specification: str, launch: Launch = lambda name: answer) -> tuple[Agent, ...]:
    """The agents of ``kind:number``, named in a fixed order and with the temperaments in turn.

    ``launch`` says how each is asked: in a container of its own, or here.

    Raises AgentError for an unknown kind, or a number that is none or too large.
    """
    kind, colon, number = specification.strip().partition(":")
    if kind != "rules":
        raise AgentError(
            f'Agents "{specification}" are of no known kind. Write rules:6; the kinds are rules.'
        )
    if not colon or not (number.isascii() and number.isdecimal()) or not 1 <= int(number) <= len(NAMES):
        raise AgentError(
            f'Agents "{specification}" need a number from 1 to {len(NAMES)}, for example rules:6.'
        )
    moods = list(TEMPERAMENTS)
    return tuple(
        RulesAgent(NAMES[i], moods[i % len(moods)], ask=launch(NAMES[i])) for i in range(int(number))
    )
