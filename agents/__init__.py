"""write: whatever rewrites a script: agent kinds, edits, knowledge.

May touch: texts and ``darwin.memory.records``; never git, a trial or a verdict.
Start reading at ``agent.py``.
"""

from darwin.agents.agent import Agent, Proposal, Task
from darwin.agents.inside.main import answer as program
from darwin.agents.novelty import fingerprint
from darwin.agents.rewrite import Refused, rewrite
from darwin.agents.roster import roster

__all__ = [
    "Agent",
    "Proposal",
    "Refused",
    "Task",
    "fingerprint",
    "program",
    "rewrite",
    "roster",
]
