"""A real small model for tests: DARWIN_SMOLLM2 is the base URL of its server (.ci/run starts it), or they skip.

Under DARWIN_REQUIRE_SMOLLM2=1 they fail where it is not given. ``Counting`` stands between gateway and server and
adds up what the server says of itself, independently of darwin.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def require_server() -> str:
    """The base URL of the model's server."""
    url = os.environ.get("DARWIN_SMOLLM2", "")
    if url:
        return url
    reason = "DARWIN_SMOLLM2 names no server of a real model; .ci/run starts one."
    if os.environ.get("DARWIN_REQUIRE_SMOLLM2") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class Counting:
    """A plain forwarder that adds up ``usage``."""

    def __init__(self, upstream: str) -> None:
        self.calls = self.prompt_tokens = self.completion_tokens = 0
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.forward(None)

            def do_POST(self) -> None:
                self.forward(self.rfile.read(int(self.headers["Content-Length"])))

            def forward(self, data: bytes | None) -> None:
                request = urllib.request.Request(upstream + self.path.removeprefix("/v1"), data)
                request.add_header("Content-Type", "application/json")
                try:
                    with urllib.request.urlopen(request, timeout=600) as answer:
                        status, body = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, body = error.code, error.read()
                usage = json.loads(body).get("usage") if data is not None and status == 200 else None
                if usage:
                    with lock:
                        outer.calls += 1
                        outer.prompt_tokens += usage["prompt_tokens"]
                        outer.completion_tokens += usage["completion_tokens"]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Counting:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
