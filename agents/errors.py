"""The errors of this room.

AgentError
├── EditError       a SEARCH/REPLACE block that cannot be read or does not apply
├── KnowledgeError  a technique file that is not as it should be
├── Refused         an agent that offered nothing new (rewrite.py)
├── Unusable        an answer that cannot be used, to be told to the model and asked again
├── Unanswered      no usable answer is to be had for this task; the run goes on without it
└── ModelsStopped   no model can be asked any more (a wrong key, no credit): the run ends here
"""

from __future__ import annotations


class AgentError(Exception):
    """Root of this room's errors; its text is one plain sentence for a person."""


class EditError(AgentError):
    """A block that cannot be read or does not apply. ``block`` counts from 1; ``file`` is None if unknown."""

    def __init__(self, message: str, block: int, file: str | None) -> None:
        super().__init__(message)
        self.block = block
        self.file = file


class KnowledgeError(AgentError):
    """A technique file whose front matter or edits are not as they should be."""


class Unusable(AgentError):
    """An answer that cannot be used; the text tells the model why."""


class Unanswered(AgentError):
    """No usable answer is to be had: an endpoint that is gone, a limit, a model that does not keep the form."""


class ModelsStopped(AgentError):
    """No model can be asked any more, and waiting does not help: a wrong key, no credit, an unknown model."""
