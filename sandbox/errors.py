"""What this room raises, and whose fault it was.

    SandboxError            our machinery, or what it was handed, is not as it must be
    ├── ContractError       genome.toml cannot be used (also a ValueError)
    ├── DatasetError        train.bin, val.bin, test.bin or meta.json cannot be used (also a ValueError)
    ├── EngineError         a container engine, its image or its devices cannot be used as asked; the text says
    │                       what to do
    └── BoxLost             a box ended, stopped answering or broke the protocol

A candidate that crashes, hangs or floods raises nothing: it is a ``Trial`` with a status. So a ``BoxLost``
while a candidate's code was running becomes a ``Trial`` too; it leaves this room only where no candidate was
running.
"""

from __future__ import annotations


class SandboxError(Exception):
    """Root of this room's errors; its text is one plain sentence."""


class ContractError(SandboxError, ValueError):
    """A genome.toml that cannot be used; the text names the key."""


class DatasetError(SandboxError, ValueError):
    """A data folder that cannot be used; the text names the file."""


class EngineError(SandboxError):
    """A container engine, its image or its devices cannot be used as asked; the text says what to do."""


class BoxLost(SandboxError):
    """A box ended (``late`` is False) or did not answer in time (``late``); ``out_of_memory`` if the kernel said so."""

    def __init__(self, message: str, *, late: bool = False, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.late = late
        self.out_of_memory = out_of_memory
