"""A scripted OpenAI-compatible server: what it answers, and how it fails, is a function of the request.

A script gets the request's body and returns a ``str`` (a completion with that text), a ``Raw`` (status, body and
headers as they are), or a ``Break`` (the connection is misused). It listens on 127.0.0.1, counts what it was asked
and keeps it, keys included, so that a test can look.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-5f4dcc3b5aa765d61d8327deb882cf99"


@dataclass
class Raw:
    """An HTTP answer as it is."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Break:
    """How the connection is misused: ``hang`` (until released), ``close`` at once, ``drop`` in mid-answer."""

    how: str


Script = Callable[[dict[str, Any]], "str | Raw | Break"]


def completion(text: str, finish: str = "stop", prompt: int = 100, answer: int = 20, **message: Any) -> Raw:
    """A completion with all that a test may want to say of it."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text, **message},
    }
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return Raw(
        body={"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
    )


def failure(status: int, message: str = "", headers: dict[str, str] | None = None, **error: Any) -> Raw:
    """An error as OpenAI writes it."""
    return Raw(
        status,
        {"error": {"message": message, "type": "e", "param": None, "code": None, **error}},
        headers or {},
    )


class ScriptedServer:
    """``with ScriptedServer(script) as server``: ``server.url`` is the base URL."""

    def __init__(self, script: Script, models: Any = ("m",), key: str | None = None) -> None:
        self.script, self.models, self.key = script, models, key
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.release = threading.Event()
        self.prompt_tokens = self.completion_tokens = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if outer.refuses(self.headers):
                    return self.send(
                        failure(401, f"Incorrect API key provided: {self.headers['Authorization']}")
                    )
                if isinstance(outer.models, Raw):
                    return self.send(outer.models)
                return self.send(
                    Raw(body={"object": "list", "data": [{"id": name} for name in outer.models]})
                )

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.requests.append(body)
                    outer.keys.append(self.headers.get("Authorization", ""))
                if outer.refuses(self.headers):
                    return self.send(
                        failure(401, f"Incorrect API key provided: {self.headers['Authorization']}")
                    )
                answer = outer.script(body)
                if isinstance(answer, str):
                    answer = completion(answer)
                if isinstance(answer, Break):
                    return self.misuse(answer.how)
                with outer._lock:
                    usage = (answer.body or {}).get("usage") if isinstance(answer.body, dict) else None
                    outer.prompt_tokens += (usage or {}).get("prompt_tokens", 0)
                    outer.completion_tokens += (usage or {}).get("completion_tokens", 0)
                return self.send(answer)

            def misuse(self, how: str) -> None:
                self.close_connection = True
                if how == "hang":
                    outer.release.wait(30)
                elif how == "drop":
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"choices": [{"mess')

            def send(self, answer: Raw) -> None:
                data = (
                    answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
                )
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def refuses(self, headers: Any) -> bool:
        return self.key is not None and headers.get("Authorization") != f"Bearer {self.key}"

    def __enter__(self) -> ScriptedServer:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
