"""darwin's own errors.

DarwinError                 root: what happened, where, what to do; the command ends with exit code 1
└── UsageError              what the user asked for cannot be done as asked; exit code 2, nothing changed
    └── MainMoved           somebody else has moved main; what a person decided on it waits until it is back
"""


class DarwinError(Exception):
    """Something went wrong that the user must know; shown as one sentence."""


class UsageError(DarwinError):
    """A wrong option, file or workspace: shown as one sentence, exit code 2."""


class MainMoved(UsageError):
    """``main`` is not where the last decision left it: no decision that moves it can be carried out."""
