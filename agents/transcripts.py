"""Transcripts: every exchange with a model, one JSON line each, in a file per child. Also what a replay reads.

An exchange is ``{"time", "agent", "child", "role", "model", "endpoint", "digest", "request", "status", "response",
"seconds", "retries", "usage", "replayed"}``: ``request`` is the whole body that was sent, ``response`` the whole
body that came back, ``digest`` the request's sha256. No key is ever in one. A question without an answer has status
0, ``{"error", "kind"}`` for a response, and under ``stopped`` and ``failed`` whether the asking ended with it: a limit
is one too.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darwin.agents.errors import AgentError
from darwin.agents.ledger import Spent
from darwin.memory.records import Usage


@dataclass(frozen=True)
class Call:
    """What an exchange is for: a child, and the role in which its agent asks (researcher, engineer, ...)."""

    child: str
    role: str


def digest(request: Mapping[str, Any]) -> str:
    """sha256 (hex) of a request, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


class Transcripts:
    """A folder of exchanges. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def write(self, exchange: Mapping[str, Any]) -> None:
        """Append an exchange to its child's file; a line that a killed run left torn is ended first."""
        path = self.path(str(exchange["child"]))
        line = (json.dumps(exchange) + "\n").encode()
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, 2)
                    line = line if file.read(1) == b"\n" else b"\n" + line
                file.write(line)

    def path(self, child: str) -> Path:
        """The file of a child."""
        return self.folder / f"{child}.jsonl"

    def read(self, child: str) -> list[dict[str, Any]]:
        """A child's exchanges in order; a torn line, which a kill can leave, was never answered for and is left out."""
        try:
            lines = self.path(child).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [found for found in map(_exchange, lines) if found is not None]

    def all(self) -> Iterator[dict[str, Any]]:
        """Every exchange, child by child."""
        for path in sorted(self.folder.glob("*.jsonl")):
            yield from self.read(path.stem)

    def spent(self) -> list[Spent]:
        """The account of them; what was replayed cost nothing."""
        return [
            Spent(e["agent"], e["child"], e["role"], e["model"], Usage(**e["usage"]))
            for e in self.all()
            if not e.get("replayed") and e.get("usage")
        ]


class Recording:
    """Answers from transcripts instead of a model: the n-th exchange of a child and role gets the n-th answer.

    A failure that was asked again in the same words and answered is left out: a killed run came back to it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir() or not any(folder.glob("*.jsonl")):
            raise AgentError(
                f"{folder} holds no transcripts to replay. Give artifacts/transcripts of a run that asked a model."
            )
        self._answers: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._at: dict[tuple[str, str], int] = defaultdict(int)
        self._lock = threading.Lock()
        for exchange in Transcripts(folder).all():
            self._answers[exchange["child"], exchange["role"]].append(exchange)
        for key, exchanges in self._answers.items():
            answered = {e.get("digest") for e in exchanges if e["status"] == 200}
            self._answers[key] = [
                e for e in exchanges if e["status"] == 200 or e.get("digest") not in answered
            ]

    def answer(self, call: Call) -> dict[str, Any] | None:
        """The next exchange recorded for this; None where there is no more."""
        key = (call.child, call.role)
        with self._lock:
            at, self._at[key] = self._at[key], self._at[key] + 1
        return self._answers[key][at] if at < len(self._answers[key]) else None


def _exchange(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    needed = ("agent", "child", "role", "model", "request", "response", "status", "usage")
    return found if isinstance(found, dict) and all(key in found for key in needed) else None
