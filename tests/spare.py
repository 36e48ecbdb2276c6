"""Providers for tests, so that torch is imported once: what they start is real.

``SharedServer`` runs trials one after another on one server; a trial that loses it loses it for itself, and the next
gets a new one.
"""

from __future__ import annotations

from darwin.sandbox import Limits, ProcessSandbox
from darwin.sandbox.box import Box, Sandbox
from darwin.sandbox.errors import BoxLost

READY = {"event": "ready"}


class Lent:
    """A provider that stays open where its borrower closes it."""

    def __init__(self, provider: ProcessSandbox) -> None:
        self.name, self.open, self.cpu_seconds = provider.name, provider.open, provider.cpu_seconds

    def close(self) -> None:
        pass


class SharedServer:
    name = "process"

    def __init__(self, provider: Sandbox) -> None:
        self._provider = provider
        self._box: Box | None = None
        self.started = 0

    def open(self, label: str, limits: Limits) -> Box:
        if self._box is None:
            self._box = self._provider.open(label, limits)
            self._box.receive(300)
            self.started += 1
        return _View(self)

    def close(self) -> None:
        self._provider.close()


class _View:
    """One trial's share: says ready at once, starts its CPU bill at 0, and leaves the server running."""

    def __init__(self, shared: SharedServer) -> None:
        assert shared._box is not None
        self._shared, self._box = shared, shared._box
        self._ready = False
        self._before = self._box.cpu_seconds()

    def send(self, header, payload=b""):
        self._try(lambda: self._box.send(header, payload))

    def receive(self, timeout):
        if not self._ready:
            self._ready = True
            return dict(READY), b""
        return self._try(lambda: self._box.receive(timeout))

    def cpu_seconds(self):
        return self._box.cpu_seconds() - self._before

    def close(self):
        pass

    def _try(self, talk):
        try:
            return talk()
        except BoxLost:
            self._shared._box = None
            self._box.close()
            raise
