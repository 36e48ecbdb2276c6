"""Agents' containers: one long-lived container for each agent and run, named after it.

Hardened like a trial's (container.py), and smaller. Nothing is shared with it: a task goes in, an answer comes
out. An agent that asks a model has the folder of its gateway's Unix socket mounted, and nothing else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from darwin.sandbox import engine
from darwin.sandbox.container import Container, Spec
from darwin.sandbox.docker import container_name
from darwin.sandbox.errors import BoxLost, SandboxError
from darwin.sandbox.limits import MiB

GATEWAY = "/gateway"  # where the gateway's folder is, inside
_COMMAND = ("python3", "-s", "-B", "-u", "-m", "inside.main")
_TASK = "/task"
_ANSWER_SECONDS = 7200.0  # a language model takes minutes, and a gateway waits for one that is gone
_FRAME_BYTES = 16 * MiB

Ask = Callable[[dict[str, Any]], dict[str, Any]]


class AgentContainers:
    """The containers of one run's agents. Thread-safe; ``gateway`` gives each one's folder on the host, or None."""

    def __init__(
        self,
        client: Any,
        image: str,
        workspace: str,
        runtime: str = "",
        gateway: Callable[[str], Path | None] = lambda name: None,
    ) -> None:
        self._client, self._workspace, self._gateway = client, workspace, gateway
        self._spec = Spec(
            image=image,
            command=_COMMAND,
            folders={_TASK: 64 * MiB, "/tmp": 16 * MiB},
            memory_bytes=512 * MiB,
            processes=32,
            frame_bytes=_FRAME_BYTES,
            home=_TASK,
            runtime=runtime,
            where="/opt/darwin/agents",
        )
        self._lock = threading.Lock()
        self._running: dict[str, Container] = {}
        self._closed = False
        self._cpu_seconds = 0.0

    def launch(self, name: str) -> Ask:
        """How to ask an agent; its container starts with the first question.

        Asking raises ``SandboxError`` when the container was lost twice over one question.
        """
        inside = {} if self._gateway(name) is None else {"gateway": GATEWAY}
        return lambda task: self._ask(name, {**task, **inside})

    def cpu_seconds(self) -> float:
        """CPU seconds of all of them so far."""
        with self._lock:
            return self._cpu_seconds + sum(one.cpu_seconds() for one in self._running.values())

    def close(self) -> None:
        """Remove them all; harmless the second time."""
        with self._lock:
            self._closed = True
            for name in list(self._running):
                self._end(name)

    def _ask(self, name: str, task: dict[str, Any]) -> dict[str, Any]:
        """A container that somebody killed is replaced once: a question and its answer leave nothing behind."""
        try:
            return self._answer(name, task)
        except BoxLost:
            with self._lock:
                self._end(name)
            return self._answer(name, task)

    def _answer(self, name: str, task: dict[str, Any]) -> dict[str, Any]:
        container = self._container(name)
        container.send({}, json.dumps(task).encode())
        _, payload = container.receive(_ANSWER_SECONDS)
        try:
            answer = json.loads(payload)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise BoxLost(f"The agent in {container.name} gave no answer.")
        return answer

    def _container(self, name: str) -> Container:
        with self._lock:
            if self._closed:
                raise SandboxError("The agents' containers were closed.")
            if name not in self._running:
                self._running[name] = Container(
                    self._client,
                    self._spec_of(name),
                    container_name(self._workspace, name),
                    engine.labels(self._workspace, "agent", name),
                )
            return self._running[name]

    def _spec_of(self, name: str) -> Spec:
        folder = self._gateway(name)
        return replace(self._spec, mounts={} if folder is None else {str(folder): GATEWAY})

    def _end(self, name: str) -> None:
        container = self._running.pop(name, None)
        if container is not None:
            container.close()
            self._cpu_seconds += container.cpu_seconds()
