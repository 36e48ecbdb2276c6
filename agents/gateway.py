"""The gateway: the only way from an agent to a model. It runs on the host and holds the key.

Each agent has a Unix socket of its own, in a folder of its own that can be mounted into its container; the gateway
knows who asks by the socket that was used. It forwards chat completions and nothing else: the model is the agent's,
whatever the request says; calls, tokens and dollars are counted and limited; every exchange is written down.
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from darwin.agents.errors import AgentError, ModelsStopped, Unanswered
from darwin.agents.failures import STATUS, as_error, kind_of
from darwin.agents.ledger import Ledger, LimitReached, Price, Spent
from darwin.agents.tokens import estimate
from darwin.agents.transcripts import Call, Recording, Transcripts, digest
from darwin.agents.upstream import CHAT, Endpoint, Rejected, Reply, Upstream
from darwin.memory.records import Usage

SOCKET = "gateway.sock"
LOST = 3  # questions in a row without an answer: the endpoint is gone, and the run ends
MOST_REQUEST_BYTES = 4 * 1024 * 1024
FORWARDED = ("messages", "temperature", "top_p", "seed", "stop", "response_format", "max_tokens")
DROPPABLE = ("temperature", "top_p", "seed", "response_format", "max_tokens")
"""What some models refuse; left out (max_tokens: renamed) once the endpoint has said so."""


@dataclass(frozen=True)
class Seat:
    """One agent's place at the gateway: which model it gets, where, at what price, how long an answer may be."""

    agent: str
    model: str
    endpoint: Endpoint
    price: Price | None
    answer_tokens: int


class Gateway:
    """Sockets for agents. Thread-safe.

    ``replay`` answers from a recording, failures included, and asks nobody. ``stopped`` says, once it is not None, why
    no agent should be asked for further children; ``failed`` whether that is an endpoint's doing and no limit's.
    ``say`` gets one line for each thing amiss.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        ledger: Ledger,
        transcripts: Transcripts,
        *,
        replay: Recording | None = None,
        say: Callable[[str], object] = lambda line: None,
        upstream: Callable[..., Upstream] = Upstream,
        folder: Path | None = None,
    ) -> None:
        self.ledger, self.transcripts, self.say = ledger, transcripts, say
        self.stopped: str | None = None
        self.failed = False
        self._seats = {seat.agent: seat for seat in seats}
        self._replay = replay
        self._calls: dict[str, Call] = {}
        self._spent: set[str] = set()  # agents that have reached a limit
        self._turned_away: set[str] = (
            set()
        )  # agents whose present call asked in vain, and are on record with it
        self._lost = 0  # questions in a row that got no answer
        self._refused: dict[Seat, set[str]] = {seat: set() for seat in seats}
        self._upstreams = {e: upstream(e, say=say) for e in dict.fromkeys(seat.endpoint for seat in seats)}
        # only this user may pass the outer folder; a mounted inner one is open to the container's own user
        self._own = None if folder else tempfile.TemporaryDirectory(prefix="darwin-gateway-")
        self._folder = folder or Path(self._own.name if self._own else "")
        self._servers = [self._serve(name) for name in self._seats]

    def folder(self, agent: str) -> Path | None:
        """The folder of an agent's socket, to be mounted into its container; None for one that asks no model."""
        return self._folder / agent.lower() if agent in self._seats else None

    @contextlib.contextmanager
    def calling(self, agent: str, child: str, role: str) -> Iterator[None]:
        """Whatever the agent asks meanwhile is for this child, in this role."""
        self._calls[agent] = Call(child, role)
        self._turned_away.discard(agent)
        try:
            yield
        finally:
            del self._calls[agent]

    def require_room(self, prompt_tokens: Mapping[str, int]) -> None:
        """See whether the limits leave room for a whole call of any agent (its longest prompt in tokens is given).

        Raises AgentError where they never did; where they are used up, ``stopped`` says so from the start.
        """
        if self._replay is not None:
            return
        reasons = []
        for seat in self._seats.values():
            call = _most(seat, prompt_tokens[seat.agent], seat.answer_tokens)
            try:
                self.ledger.reserve(seat.agent, call)
            except LimitReached as limit:
                reasons.append(str(limit))
            else:
                self.ledger.settle(None, seat.agent, call)
        if len(reasons) == len(self._seats):
            if not self.ledger.entries():
                raise AgentError(
                    f"Not one call can be made: {reasons[0]}. Raise the limit, or shorten prompts and answers."
                )
            self.stopped = reasons[0]

    def roomy(self, prompt_tokens: Mapping[str, int], calls: int) -> bool:
        """Whether every limit leaves room for so many whole calls of each of these agents together."""
        taken: list[tuple[str, Usage]] = []
        try:
            for agent, prompt in prompt_tokens.items():
                call = _most(self._seats[agent], prompt, self._seats[agent].answer_tokens)
                highest = sum([call] * calls, Usage())
                self.ledger.reserve(agent, highest)
                taken.append((agent, highest))
        except LimitReached:
            return False
        finally:
            for agent, highest in taken:
                self.ledger.settle(None, agent, highest)
        return True

    def check(self) -> dict[str, tuple[str, ...]]:
        """Ask each endpoint for its list of models, which is free: {host: names}. Raises as ``Upstream.models``."""
        if self._replay is not None:
            return {}
        return {endpoint.host: up.models() for endpoint, up in self._upstreams.items()}

    def close(self) -> None:
        """Take the sockets down; harmless the second time."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers = []
        for upstream in self._upstreams.values():
            upstream.close()
        if self._own is not None:
            self._own.cleanup()

    def complete(self, agent: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's body for an agent's request. Raises the errors of ``Upstream.chat``, and ``LimitReached``."""
        seat, call = self._seats[agent], self._calls.get(agent)
        if call is None:
            raise Unanswered(f"{agent} has no task now")
        request = {"model": seat.model, **{key: asked[key] for key in FORWARDED if key in asked}}
        most = asked.get("max_tokens", seat.answer_tokens)
        request["max_tokens"] = min(most if isinstance(most, int) and most > 0 else 1, seat.answer_tokens)
        if self._replay is not None:
            return self._replayed(self._replay, call)
        return self._paid(call, request) or self._ask(seat, call, request)

    def _ask(self, seat: Seat, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The endpoint's answer. Whatever comes of it is a line of the transcripts; what was never sent is one a call,
        and says no more than that."""
        prompt = estimate(json.dumps(request.get("messages", [])))
        common = {
            "time": round(time.time(), 3), "agent": seat.agent, "child": call.child, "role": call.role,
            "model": seat.model, "endpoint": seat.endpoint.host, "digest": digest(request), "request": request,
        }  # fmt: skip
        try:
            highest = self._reserved(seat, prompt, request["max_tokens"])
        except Unanswered as error:
            if seat.agent not in self._turned_away:
                self._turned_away.add(seat.agent)
                self._write_failure({**common, "request": {}}, error)
            raise
        try:
            reply, usage = self._metered(seat, call, request, prompt, highest)
        except (ModelsStopped, Unanswered) as error:
            self._write_failure(common, error)
            raise
        self.transcripts.write(
            {**common, "status": 200, "response": reply.body, "seconds": reply.seconds, "retries": reply.retries,
             "usage": usage.model_dump(), "replayed": False}
        )  # fmt: skip
        return reply.body

    def _write_failure(self, exchange: Mapping[str, Any], error: AgentError) -> None:
        said = {"error": str(error), "kind": kind_of(error)}
        ended = {"stopped": self.stopped, "failed": self.failed}
        self.transcripts.write({**exchange, "status": 0, "response": said, "usage": None, **ended})

    def _reserved(self, seat: Seat, prompt: int, completion: int) -> Usage:
        """What a call may take at most, set aside; a limit that all have reached ends the asking."""
        if self.stopped:
            raise Unanswered(self.stopped)
        highest = _most(seat, prompt, completion)
        try:
            self.ledger.reserve(seat.agent, highest)
        except LimitReached as limit:
            self._spent |= set(self._seats) if limit.agent is None else {limit.agent}
            if len(self._spent) == len(self._seats):
                self.stopped = str(limit)
            raise
        return highest

    def _metered(
        self, seat: Seat, call: Call, request: dict[str, Any], prompt: int, highest: Usage
    ) -> tuple[Reply, Usage]:
        """The reply and what it took of its reserve; too many failures in a row end the asking."""
        entry = None
        try:
            reply = self._adapted(self._upstreams[seat.endpoint], seat, request)
            self._lost = 0
            body: dict[str, Any] = json.loads(seat.endpoint.scrubbed(json.dumps(reply.body)))
            usage = _usage(body, seat.price, prompt)
            entry = Spent(seat.agent, call.child, call.role, seat.model, usage)
            return replace(reply, body=body), usage
        except (ModelsStopped, Unanswered) as error:
            self._lost += not isinstance(error, Rejected)
            if self._lost >= LOST:
                self.failed = True
                self.stopped = (
                    f"{seat.endpoint.host} left {LOST} questions in a row unanswered; the last: {error}"
                )
            raise
        finally:
            self.ledger.settle(entry, seat.agent, highest)

    def _adapted(self, upstream: Upstream, seat: Seat, request: dict[str, Any]) -> Reply:
        """The reply, asked again without a parameter that this model refuses."""
        for _ in range(len(DROPPABLE) + 1):
            adapted = _without(request, self._refused[seat])
            try:
                return upstream.chat(adapted)
            except Rejected as error:
                refused = _refused_parameter(error, adapted)
                if refused is None:
                    raise
                self._refused[seat].add(refused)
        raise Unanswered(f"{seat.endpoint.host} refuses the request in any form")

    def _replayed(self, recording: Recording, call: Call) -> dict[str, Any]:
        """What was recorded for this call: its answer, or its failure with all that followed from it."""
        found = recording.answer(call)
        if found is None:
            if self.stopped:
                raise Unanswered(self.stopped)
            raise ModelsStopped(
                f"The recording has no further answer for {call.child} ({call.role}). Replay it with the seed, agents "
                "and generations that it was made with."
            )
        self.transcripts.write({**found, "replayed": True})
        if found["status"] == 200:
            return dict(found["response"])
        if found.get("stopped"):
            self.stopped, self.failed = str(found["stopped"]), bool(found.get("failed"))
        said = found["response"]
        raise as_error(said.get("kind"), str(said.get("error", "no answer was recorded")))

    def _paid(self, call: Call, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer that a killed run had got for this very request, which costs nothing."""
        if self.stopped:
            return None
        wanted = digest(request)
        for exchange in self.transcripts.read(call.child):
            if (exchange["role"], exchange.get("digest"), exchange["status"]) == (call.role, wanted, 200):
                return dict(exchange["response"])
        return None

    def _serve(self, agent: str) -> socketserver.ThreadingUnixStreamServer:
        folder = self._folder / agent.lower()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / SOCKET
        path.unlink(missing_ok=True)
        server = _Server(str(path), partial(_Handler, gateway=self, agent=agent))
        folder.chmod(0o755)
        path.chmod(0o666)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An agent that hangs up early is no event."""


class _Handler(BaseHTTPRequestHandler):
    """HTTP for one agent: POST /v1/chat/completions."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, gateway: Gateway, agent: str) -> None:
        self.gateway, self.agent = gateway, agent
        super().__init__(*arguments)

    def do_POST(self) -> None:
        if self.path != "/v1" + CHAT:
            self._answer(404, _error("path", f"The gateway has POST /v1{CHAT} and nothing else."))
            return
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= MOST_REQUEST_BYTES:
            self.close_connection = True
            self._answer(413, _error("rejected", f"A request has at most {MOST_REQUEST_BYTES} bytes."))
            return
        try:
            asked = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            self._answer(400, _error("rejected", "The request is no JSON object."))
            return
        try:
            body = self.gateway.complete(self.agent, asked)
        except AgentError as error:
            kind = kind_of(error)
            self._answer(STATUS[kind], _error(kind, str(error)))
        else:
            self._answer(200, body)

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on the terminal: the transcripts are the log."""


def _most(seat: Seat, prompt: int, completion: int) -> Usage:
    """What a call may take at most."""
    dollars = None if seat.price is None else seat.price.of(prompt, completion)
    return Usage(calls=1, prompt_tokens=prompt, completion_tokens=completion, dollars=dollars)


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message}}


def _usage(body: Mapping[str, Any], price: Price | None, prompt_estimate: int) -> Usage:
    """Tokens as the endpoint counted them (estimated where it counts none); dollars as it bills them, else by price."""
    said = body.get("usage")
    said = said if isinstance(said, dict) else {}
    text = str(body["choices"][0]["message"].get("content") or "")
    prompt = _count(said.get("prompt_tokens"), prompt_estimate)
    completion = _count(said.get("completion_tokens"), estimate(text))
    billed = said.get("cost")
    dollars = None if price is None else price.of(prompt, completion)
    if isinstance(billed, int | float) and not isinstance(billed, bool) and billed >= 0:
        dollars = float(billed)
    return Usage(calls=1, prompt_tokens=prompt, completion_tokens=completion, dollars=dollars)


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def _without(request: dict[str, Any], refused: set[str]) -> dict[str, Any]:
    adapted = {key: value for key, value in request.items() if key not in refused}
    if "max_tokens" in refused:
        adapted["max_completion_tokens"] = request["max_tokens"]
    return adapted


def _refused_parameter(error: Rejected, request: Mapping[str, Any]) -> str | None:
    """The optional parameter that an endpoint complains about, if it is one of those sent."""
    if error.context:
        return None
    words = str(error)
    named = [
        name for name in DROPPABLE if error.parameter == name or f"'{name}'" in words or f'"{name}"' in words
    ]
    return next((name for name in named if name in request), None)
