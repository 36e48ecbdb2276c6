"""What the gateway costs: a call through it against the direct call, one client; and its throughput with 50 agents.

    python bench/gateway.py

The endpoint is a local server that answers at once, so that what is measured is the way there and back. Direct calls
and calls through the gateway are made in turn; medians of wall milliseconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from darwin.agents.gateway import Gateway, Seat
from darwin.agents.inside.chat import ask
from darwin.agents.ledger import FREE, Allowance, Ledger
from darwin.agents.transcripts import Transcripts
from darwin.agents.upstream import Endpoint

CALLS, AGENTS, EACH = 300, 50, 20
PROMPT = "x " * 24_000  # about 16 k tokens
ANSWER = json.dumps({
    "choices": [{"message": {"role": "assistant", "content": "y " * 1000}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 16_000, "completion_tokens": 700},
}).encode()  # fmt: skip


class Instant(BaseHTTPRequestHandler):
    """Answers at once."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else kept connections wait 40 ms for an acknowledgement

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Instant)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    names = [f"agent{number}" for number in range(AGENTS)]
    with tempfile.TemporaryDirectory() as place:
        seats = [Seat(name, "m", Endpoint(url), FREE, 1000) for name in names]
        gateway = Gateway(seats, Ledger(Allowance(), {}), Transcripts(Path(place) / "transcripts"))
        try:
            direct, through = one_client(gateway, url, names[0])
            rate = many(gateway, names)
        finally:
            gateway.close()
    server.shutdown()
    print(
        f"Through the gateway a call takes {through - direct:.2f} ms longer ({through:.2f} against {direct:.2f} ms, "
        f"median of {CALLS}); {AGENTS} agents at once get {rate:.0f} calls a second."
    )


def body(number: object) -> dict:
    return {"messages": [{"role": "user", "content": f"{number} {PROMPT}"}], "max_tokens": 1000}


def one_client(gateway: Gateway, url: str, name: str) -> tuple[float, float]:
    """Milliseconds of a direct call and of one through the gateway."""
    session = requests.Session()
    direct, through = [], []
    for number in range(CALLS):
        began = time.perf_counter()
        session.post(f"{url}/chat/completions", json=body(number)).json()
        direct.append(1e3 * (time.perf_counter() - began))
        with gateway.calling(name, f"child{number}", "researcher"):
            began = time.perf_counter()
            status, _ = ask(str(gateway.folder(name)), body(number))
            through.append(1e3 * (time.perf_counter() - began))
        assert status == 200
    return statistics.median(direct), statistics.median(through)


def many(gateway: Gateway, names: list[str]) -> float:
    """Calls a second of all agents together."""

    def work(name: str) -> None:
        for number in range(EACH):
            with gateway.calling(name, f"{name}-{number}", "researcher"):
                assert ask(str(gateway.folder(name)), body(f"{name} {number}"))[0] == 200

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(names) * EACH / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
