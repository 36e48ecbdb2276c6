"""The seam between a trial and what confines it: a ``Sandbox`` opens boxes, a ``Box`` holds one running
server.

Everything goes through the box's channel, as frames of a JSON header and raw bytes: genome files, training
data, judged windows, logits, logs. No folder is shared, so a provider is only a way to start
``inside/server.py`` with its standard input and output connected.
"""

from __future__ import annotations

from typing import Any, Protocol

from darwin.sandbox.limits import Limits


class Box(Protocol):
    """One confined trial server, for one trial. One thread talks to it; any thread may close it."""

    def send(self, header: dict[str, Any], payload: bytes | memoryview = b"") -> None:
        """Send one frame; raises ``BoxLost`` where the server is gone or takes nothing for a minute."""

    def receive(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """The next frame (bounded by the limits), within ``timeout`` seconds; raises ``BoxLost``."""

    def cpu_seconds(self) -> float:
        """CPU seconds of everything that ever ran in the box; after ``close`` the last known figure."""

    def close(self) -> None:
        """Kill everything in the box and remove what it left; harmless the second time."""


class Sandbox(Protocol):
    """A provider of boxes. Thread-safe."""

    @property
    def name(self) -> str:
        """As the command line writes it, for example ``process``."""

    def open(self, label: str, limits: Limits) -> Box:
        """Start a server; returns at once, its first frame ``{"event": "ready"}`` says when it can be used.

        ``label`` is for people (a process list, a container's name). Raises ``SandboxError``.
        """

    def close(self) -> None:
        """Close every box still open; harmless the second time."""
