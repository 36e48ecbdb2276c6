"""One OpenAI-compatible endpoint, asked over kept connections. Retries happen here and nowhere else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from darwin.agents.errors import AgentError, ModelsStopped, Unanswered

PATIENCE = 240.0  # seconds of waiting for one answer: an endpoint may be gone for a minute or two
LONGEST_WAIT = 30.0  # seconds between two tries, unless the endpoint asks for more
ANSWER_SECONDS = 600.0  # of one try: a reasoning model may think for minutes
CONNECT_SECONDS = 10.0
MOST_BYTES = 16 * 1024 * 1024  # of an answer
AGAIN = (408, 409, 425, 429)  # and every 5xx
CHAT = "/chat/completions"
MODELS = "/models"


@dataclass(frozen=True)
class Endpoint:
    """Where models are asked, and the key for it ("" for none); the key shows in no printout. ``url_from`` and
    ``key_from`` say to people where either was set."""

    url: str
    key: str = field(default="", repr=False)
    url_from: str = field(default="OPENAI_BASE_URL", compare=False)
    key_from: str = field(default="OPENAI_API_KEY", compare=False)

    @property
    def host(self) -> str:
        """For people: the host and port alone, as a URL may carry a password."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    @property
    def here(self) -> bool:
        """Whether it is on this machine."""
        name = urlsplit(self.url).hostname or ""
        return name in ("localhost", "::1") or name.startswith("127.")

    def scrubbed(self, text: str) -> str:
        """The text without the key, should an endpoint have sent it back."""
        return text.replace(self.key, "[key]") if self.key else text


class Rejected(Unanswered):
    """The endpoint will never answer this very request; ``context`` says that it is too long for the model."""

    def __init__(self, message: str, context: bool = False, parameter: str | None = None) -> None:
        super().__init__(message)
        self.context = context
        self.parameter = parameter


@dataclass(frozen=True)
class Reply:
    """An answer: its body, how often it was asked again, wall seconds in all."""

    body: dict[str, Any]
    retries: int
    seconds: float


class Upstream:
    """Asks one endpoint. Thread-safe. ``wait`` sleeps; ``say`` gets one line when something is amiss."""

    def __init__(
        self,
        endpoint: Endpoint,
        wait: Callable[[float], object] = time.sleep,
        say: Callable[[str], object] = lambda line: None,
        answer_seconds: float = ANSWER_SECONDS,
        patience: float = PATIENCE,
    ) -> None:
        self.endpoint = endpoint
        self._wait, self._say = wait, say
        self._answer_seconds, self._patience = answer_seconds, patience
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=64))

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()

    def chat(self, request: dict[str, Any]) -> Reply:
        """The answer to a chat completion's request.

        Raises ``Rejected`` where asking the same again is of no use, ``Unanswered`` where no answer came in
        time, ``ModelsStopped`` where no request will be answered any more.
        """
        began, waited, tries = time.monotonic(), 0.0, 0
        while True:
            pause, problem = None, ""
            try:
                status, headers, body = self._once("POST", CHAT, request)
            except requests.RequestException as error:
                problem = _trouble(error)
            else:
                if status == 200 and _is_completion(body):
                    if tries:
                        self._say(f"{self.endpoint.host} answers again.")
                    return Reply(body, tries, round(time.monotonic() - began, 3))
                self._refuse(status, body, str(request.get("model")))
                problem = (
                    f"answers {status} {_message(body)}".strip() if status != 200 else "sends no completion"
                )
                pause = _asked_to_wait(headers)
            pause = min(2.0**tries, LONGEST_WAIT) if pause is None else pause
            problem = self.endpoint.scrubbed(problem)
            if waited + pause > self._patience:
                raise Unanswered(
                    f"{self.endpoint.host} {problem}; given up after {tries + 1} tries and {waited:.0f} s of waiting"
                )
            if not tries:
                self._say(f"{self.endpoint.host} {problem}; asking again in {pause:.0f} s.")
            self._wait(pause)
            waited, tries = waited + pause, tries + 1

    def models(self) -> tuple[str, ...]:
        """The names of the models it offers; empty where it keeps no list. Costs nothing.

        Raises ``ModelsStopped`` for a wrong key, ``AgentError`` where it cannot be reached or is no such endpoint.
        """
        where = f"{self.endpoint.host} ({self.endpoint.url_from})"
        try:
            status, _, body = self._once("GET", MODELS, None)
        except requests.RequestException as error:
            problem = self.endpoint.scrubbed(_trouble(error))
            raise AgentError(f"{where} {problem}. Is it running, and is the address right?") from None
        if status in (401, 402, 403):
            self._refuse(status, body, "")
        if status in (404, 405, 501) and isinstance(body, dict) and body:
            return ()
        listed = body.get("data") if isinstance(body, dict) else None
        if status != 200 or not isinstance(listed, list):
            raise AgentError(
                f"{where} does not speak the OpenAI API: GET {MODELS} answers {status} without a list of models. "
                "The address usually ends in /v1."
            )
        return tuple(str(m["id"]) for m in listed if isinstance(m, dict) and "id" in m)

    def _once(self, method: str, path: str, request: dict[str, Any] | None) -> tuple[int, Any, Any]:
        """(status, headers, body as JSON or {}) of one try, bounded in bytes and in time."""
        until = time.monotonic() + self._answer_seconds
        with self._session.request(
            method,
            self.endpoint.url.rstrip("/") + path,
            json=request,
            auth=_Bearer(self.endpoint.key),
            timeout=(CONNECT_SECONDS, self._answer_seconds),
            allow_redirects=False,
            stream=True,
        ) as response:
            whole = b""
            for part in response.iter_content(65536):
                whole += part
                if len(whole) > MOST_BYTES:
                    raise requests.exceptions.ContentDecodingError(f"sends more than {MOST_BYTES} bytes")
                if time.monotonic() > until:
                    raise requests.exceptions.ReadTimeout
            try:
                body = json.loads(whole)
            except ValueError:
                body = {}
            return response.status_code, response.headers, body

    def _refuse(self, status: int, body: Any, model: str) -> None:
        """Raise for an answer that stays the same however often one asks; return for one worth waiting for."""
        error = body.get("error") if isinstance(body, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        words = self.endpoint.scrubbed(_message(body))
        host = self.endpoint.host
        if status in (401, 403):
            raise ModelsStopped(
                f"{host} does not accept the key ({status} {words}). Check {self.endpoint.key_from}."
            )
        if status == 402 or code == "insufficient_quota":
            raise ModelsStopped(f"{host} has no credit left for this key ({status} {words}).")
        if status == 404:
            raise ModelsStopped(
                f'{host} does not know the model "{model}", or has no {CHAT} ({status} {words}). '
                "darwin agents test lists its models."
            )
        if status in AGAIN or status >= 500 or status == 200:
            return
        low = words.lower()
        too_long = code == "context_length_exceeded" or (
            "context" in low
            and any(word in low for word in ("exceed", "length", "long", "larger", "maximum"))
        )
        parameter = error.get("param") if isinstance(error, dict) else None
        raise Rejected(f"{host} answers {status} {words}".strip(), too_long, parameter and str(parameter))


class _Bearer(AuthBase):
    """The key as the one authorization, whatever a .netrc says."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _is_completion(body: Any) -> bool:
    """Whether it has at least one choice with a message."""
    choices = body.get("choices") if isinstance(body, dict) else None
    return (
        isinstance(choices, list)
        and bool(choices)
        and isinstance(choices[0], dict)
        and (isinstance(choices[0].get("message"), dict))
    )


def _message(body: Any) -> str:
    """The endpoint's own words, on one short line."""
    error = body.get("error") if isinstance(body, dict) else None
    words = error.get("message") if isinstance(error, dict) else error
    return " ".join("".join(c if c.isprintable() else " " for c in str(words or "")).split())[:200]


def _trouble(error: requests.RequestException) -> str:
    """What happened, without addresses, which may hold a password."""
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return str(error)
    if isinstance(error, requests.Timeout):
        return "does not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "dropped the connection in the middle of an answer"
    if isinstance(error, requests.ConnectionError):
        return (
            "cannot be reached"
            if "refused" in str(error).lower()
            else "cannot be reached, or dropped the connection"
        )
    return f"cannot be asked ({type(error).__name__})"


def _asked_to_wait(headers: Any) -> float | None:
    """Seconds of a Retry-After header, as a number or a date; None without a usable one."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            return max(0.0, float(text) * unit)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            continue
    return None
