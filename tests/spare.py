"""A provider for tests: trials one after another on servers that stay, so that torch is imported once for many.

Everything but the start is real. A trial that loses its server loses it for itself: the next gets a new one.
"""

from __future__ import annotations

import threading

from darwin.sandbox import Limits
from darwin.sandbox.box import Box, Sandbox
from darwin.sandbox.errors import BoxLost

READY = {"event": "ready"}


class SharedServers:
    """As many servers as there were trials at a time. Closing it ends none, as its next user wants them; ``end``
    does."""

    name = "process"

    def __init__(self, provider: Sandbox) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._free: list[Box] = []

    def open(self, label: str, limits: Limits) -> Box:
        with self._lock:
            box = self._free.pop() if self._free else None
        if box is None:
            box = self._provider.open(label, limits)
            box.receive(300)
        return _View(box, self._take_back)

    def close(self) -> None:
        pass

    def end(self) -> None:
        self._provider.close()

    def _take_back(self, box: Box) -> None:
        with self._lock:
            self._free.append(box)


class _View:
    """One trial's share: says ready at once, starts its CPU bill at 0, and leaves the server running."""

    def __init__(self, box: Box, take_back) -> None:
        self._box, self._take_back = box, take_back
        self._ready = self._closed = self._lost = False
        self._before = box.cpu_seconds()

    def send(self, header, payload=b""):
        self._try(lambda: self._box.send(header, payload))

    def receive(self, timeout):
        if not self._ready:
            self._ready = True
            return dict(READY), b""
        return self._try(lambda: self._box.receive(timeout))

    def cpu_seconds(self):
        return self._after if self._closed else self._box.cpu_seconds() - self._before

    def close(self):
        if self._closed:
            return
        self._after, self._closed = self.cpu_seconds(), True
        if not self._lost and self._answers():
            self._take_back(self._box)
        else:
            self._box.close()

    def _answers(self) -> bool:
        """Whether the server waits for a request; where a trial was left in the middle, something else comes."""
        try:
            self._box.send({"op": "put", "files": {}})
            return self._box.receive(60)[0].get("event") == "ended"
        except BoxLost:
            return False

    def _try(self, talk):
        try:
            return talk()
        except BoxLost:
            self._lost = True
            self._box.close()
            raise
