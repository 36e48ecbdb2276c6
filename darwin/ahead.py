"""Asking ahead: the authors of one batch ask their models at the same time.

An answer takes from seconds to minutes, and nothing that an author is shown comes from its own batch. Only the
waiting is shared: who computes holds the baton (Python 3.11 cannot parse in two threads at once), and what follows an
answer (novelty, repairs, commits, records) keeps the order of the births.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ParamSpec, TypeVar

from darwin.agents import Proposal, Task
from darwin.agents.chat import ChatAgent
from darwin.evolution import Evolution

MOST_CALLS = 40
"""Calls that a proposal hardly ever takes. Where limits leave no room for as many of each author, they ask one after
the other: who gets the last call must not depend on who is faster."""

First = Callable[[], Proposal]
"""Waits for an author's first proposal; raises what asking for it raised."""

P = ParamSpec("P")
T = TypeVar("T")


def asked_ahead(evolution: Evolution, tasks: Sequence[Task]) -> dict[str, First]:
    """Have models asked for several tasks at once; by child, how to wait for each.

    Nothing is asked where an author has two, or where a limit is near.
    """
    authors: dict[str, ChatAgent] = {}
    for task in tasks:
        agent = evolution.agents[task.agent]
        if isinstance(agent, ChatAgent):
            authors[task.agent] = agent
    prompts = {name: agent.member.prompt_tokens for name, agent in authors.items()}
    gateway = evolution.gateway
    if len(authors) < len(tasks) or gateway is None or not gateway.roomy(prompts, MOST_CALLS):
        return {}
    baton = threading.Lock()
    baton.acquire()  # the caller's, until it waits
    return {task.child: _started(authors[task.agent], task, baton) for task in tasks}


def _started(agent: ChatAgent, task: Task, baton: threading.Lock) -> First:
    """Have it propose in a thread of its own, which holds up neither Ctrl-C nor the program's end."""
    agent = replace(agent, ask=_without(baton, agent.ask))
    outcome: list[Proposal | BaseException] = []

    def propose() -> None:
        with baton:
            try:
                outcome.append(agent.propose(task))
            except BaseException as error:  # whatever it is, it is raised where the proposal is waited for
                outcome.append(error)

    thread = threading.Thread(target=propose, daemon=True)
    thread.start()

    def first() -> Proposal:
        _without(baton, thread.join)()
        found = outcome.pop()
        if isinstance(found, Proposal):
            return found
        try:
            raise found
        finally:
            del found  # or the error would hold this frame, and with it all that called it

    return first


def _without(baton: threading.Lock, wait: Callable[P, T]) -> Callable[P, T]:
    """``wait``, and meanwhile somebody else has the baton."""

    def waited(*arguments: P.args, **named: P.kwargs) -> T:
        baton.release()
        try:
            return wait(*arguments, **named)
        finally:
            baton.acquire()

    return waited
