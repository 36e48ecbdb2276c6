"""``darwin tell``."""

from __future__ import annotations

from typing import Annotated

import typer

from darwin import advice
from darwin.cli import options
from darwin.cli.review import settle
from darwin.errors import UsageError
from darwin.memory.records import Run
from darwin.screen import Screen, safe
from darwin.workspace import locate, open_workspace

LONGEST = 500
"""Characters of advice: it is in every task."""


def tell(
    first: Annotated[
        str | None,
        typer.Argument(metavar="[AGENT]", help="Whom to tell, else every agent", show_default=False),
    ] = None,
    second: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="What to tell", show_default=False)
    ] = None,
    withdraw: Annotated[
        str | None, typer.Option(help="Take this advice back, by its id", show_default=False)
    ] = None,
    workspace: options.Workspace = None,
    json: options.Json = False,
) -> None:
    """Give the agents advice that stays in their tasks until withdrawn; without a text, list what holds.

    Agents that ask a language model read it; rule-based ones cannot.

    \b
    Examples:
      darwin tell "Do not make the model larger."
      darwin tell Ada "Try fewer, wider layers."
    """
    opened, screen = open_workspace(locate(workspace)), Screen()
    run = opened.memory.run
    if withdraw is not None:
        if withdraw not in [one.id for one in advice.holding(run)]:
            raise UsageError(f"No advice that holds has the id {withdraw}. darwin tell lists what does.")
        advice.post(opened.folder, advice.Withdrawal(withdraw=withdraw))
    elif first is not None:
        agent, text = (None, first) if second is None else (_agent(run, first), second)
        if not safe(text, LONGEST):
            raise UsageError("The advice is empty.")
        post = advice.advice(safe(text, LONGEST), opened.lineage.person(), agent, len(run.advice))
        advice.post(opened.folder, post)
    elif json:
        options.print_json([one.model_dump(mode="json") for one in advice.holding(run)])
        return
    else:
        for one in advice.holding(run):
            screen.say(f"{one.id}  {one.agent or 'every agent'}: {safe(one.text, LONGEST)}")
        if not advice.holding(run):
            screen.say("The agents have been told nothing.")
        return
    settle(opened.folder, screen)


def _agent(run: Run, name: str) -> str:
    names = {card.name.lower(): card.name for card in run.agents}
    if name.lower() not in names:
        raise UsageError(f"There is no agent {safe(name)}. There are {', '.join(names.values())}.")
    return names[name.lower()]
