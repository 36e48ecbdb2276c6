"""The errors of this room.

AgentError
├── EditError       a SEARCH/REPLACE block that cannot be read or does not apply
├── KnowledgeError  a technique file that is not as it should be
└── Refused         an agent that offered nothing new (rewrite.py)
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
