"""An agent that asks a model: say what is wanted, read the answer's head, ask again where it has none.

Standard library only: it runs in the agent's own container, which has no network; ``gateway`` is the folder of the
Unix socket behind which the host asks the model.

The task::

    {"kind": "openai", "gateway": "/gateway", "messages": [...], "wants": {"hypothesis": "text", ...},
     "form": "head" | "json", "temperature": 0.7, "max_tokens": 4000, "response_format": {...} or absent,
     "room": bytes of an answer that cannot be used which are said again when asking for another}

``wants`` says what the head has to hold: "text", "number", "texts" (a list), "changes" (a list of setting and
value) or "request" (kind, wanted and reason; one that is none is left out, and costs no answer). With form "head", the
head is the first JSON object of the answer and the rest is its body; with "json" the whole answer is the head. The
answer, with what was wrong with each one that was asked for again::

    {"head": {...}, "body": "...", "again": ["it was empty.", ...]}   or
    {"error": {"type": "unusable" | "unavailable" | ..., "message": "..."}, "again": [...]}
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any

ASKED_AGAIN = 2  # times, for an answer without the form that was asked for
ROOM = 4_000  # bytes of an answer that cannot be used, where the task says nothing
SOCKET = "gateway.sock"
RECONNECT = (0.1, 0.2, 0.5, 1, 2, 4, 8)  # seconds: a gateway that was restarted is back within these
ANSWER_SECONDS = 3000.0  # the gateway waits and asks again by itself; it always answers in the end


def converse(task: dict[str, Any]) -> dict[str, Any]:
    """The head and body of the model's answer, or the error that ended the conversation."""
    messages = list(task["messages"])
    again: list[str] = []
    while True:
        request = {"messages": messages, "temperature": task.get("temperature"), "max_tokens": task["max_tokens"],
                   "response_format": task.get("response_format")}  # fmt: skip
        status, body = ask(task["gateway"], {k: v for k, v in request.items() if v is not None})
        if status != 200:
            other = {"type": "unavailable", "message": f"the gateway answers {status}"}
            return {"error": body.get("error") or other, "again": again}
        text, problem = said(body)
        if not problem:
            head, rest, problem = read(text, task["form"], task["wants"])
            if head is not None:
                return {"head": head, "body": rest, "again": again}
        if len(again) == ASKED_AGAIN:
            return {"error": {"type": "unusable", "message": problem}, "again": again}
        again.append(problem)
        refused = (  # numbered, so that no request equals an earlier one, whose answer is known
            f"That answer ({len(again)} of {ASKED_AGAIN + 1}) cannot be used: {problem} "
            "Answer again, in the form asked for."
        )
        start = text.encode("utf-8", "replace")[: task.get("room", ROOM)].decode("utf-8", "ignore")
        messages = [
            *task["messages"],
            {"role": "assistant", "content": start or "(nothing)"},
            {"role": "user", "content": refused},
        ]


def said(body: dict[str, Any]) -> tuple[str, str]:
    """(the text of a completion, what is wrong with it or "")."""
    choice = body["choices"][0]
    message = choice["message"]
    text = message.get("content")
    if isinstance(text, list):  # parts, as some servers write it
        text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
    text = text if isinstance(text, str) else ""
    if choice.get("finish_reason") == "length":
        return text, "it was cut off because it was too long; be brief, and change less."
    if choice.get("finish_reason") == "content_filter" or message.get("refusal"):
        return text, "it was a refusal; the task is ordinary engineering of a small training script."
    return text, "" if text.strip() else "it was empty."


def read(text: str, form: str, wants: dict[str, str]) -> tuple[dict[str, Any] | None, str, str]:
    """(head, body, problem): the first JSON object that has all that is wanted, and what follows it."""
    text = _after_thinking(text)
    decoder = json.JSONDecoder()
    problem = "it holds no JSON object with " + ", ".join(wants) + "."
    start = text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            found, end = None, start + 1
        if isinstance(found, dict) and set(found) & set(wants):
            head, wrong = checked(found, wants)
            if not wrong:
                return head, "" if form == "json" else _unfenced(text[end:]), ""
            problem = wrong
        elif isinstance(found, dict):
            end = start + 1  # the head may be one level down
        start = text.find("{", end)
    return None, "", problem


def checked(found: dict[str, Any], wants: dict[str, str]) -> tuple[dict[str, Any], str]:
    """(what is wanted with its types put right, what is wrong or "")."""
    head: dict[str, Any] = {}
    for name, kind in wants.items():
        optional = kind.endswith("?")
        value = found.get(name)
        if optional and (value is None or (kind == "request?" and _request(value) is None)):
            continue
        taken = _TAKE[kind.rstrip("?")](value)
        if taken is None:
            return {}, f'"{name}" should be {_WORDS[kind.rstrip("?")]}, and is {json.dumps(value)[:80]}.'
        head[name] = taken
    return head, ""


def ask(folder: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """(status, body) of a chat completion; connects again where the gateway has just been restarted."""
    data = json.dumps(request).encode()
    error: Exception | None = None
    for pause in (*RECONNECT, None):
        connection = _Unix(folder)
        try:
            connection.request("POST", "/v1/chat/completions", data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = json.loads(response.read())
            return response.status, body if isinstance(body, dict) else {}
        except (OSError, http.client.HTTPException, ValueError) as reason:
            error = reason
        finally:
            connection.close()
        if pause is not None:
            time.sleep(pause)
    return 503, {"error": {"type": "unavailable", "message": f"the gateway is gone ({type(error).__name__})"}}


class _Unix(http.client.HTTPConnection):
    def __init__(self, folder: str) -> None:
        super().__init__("gateway", timeout=ANSWER_SECONDS)
        self._path = f"{folder}/{SOCKET}"

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _after_thinking(text: str) -> str:
    """Without the thoughts that some models write before their answer."""
    return text.rpartition("</think>")[2]


def _unfenced(rest: str) -> str:
    """What follows the head, without the fence that closes it."""
    first, newline, after = rest.lstrip(" \t\r\n").partition("\n")
    return after if first.strip() in ("```", "~~~") and newline else rest


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        share = 0.01 if value.strip().endswith("%") else 1
        try:
            value = float(value.strip().rstrip("% ")) * share
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        return None
    return value


def _texts(value: Any) -> list[str] | None:
    value = [value] if isinstance(value, str) else value
    return value[:50] if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def _changes(value: Any) -> list[dict[str, Any]] | None:
    if not isinstance(value, list) or not value:
        return None
    taken = []
    for one in value[:8]:
        if not isinstance(one, dict) or not isinstance(one.get("setting"), str):
            return None
        number = _number(one.get("value"))
        if number is None:
            return None
        taken.append({"setting": one["setting"], "value": number})
    return taken


def _request(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not all(
        isinstance(value.get(k), str) for k in ("kind", "wanted", "reason")
    ):
        return None
    taken: dict[str, Any] = {k: value[k].strip()[:1000] for k in ("kind", "wanted", "reason")}
    effect = _number(value.get("expected_log_perplexity"))
    if effect is not None:
        taken["expected_log_perplexity"] = effect
    return {**taken, "evidence": (_texts(value.get("evidence")) or [])[:20]}


_TAKE = {
    "text": lambda v: v.strip()[:4000] if isinstance(v, str) and v.strip() else None,
    "number": _number,
    "texts": _texts,
    "changes": _changes,
    "request": _request,
}
_WORDS = {
    "text": "a text",
    "number": "a number",
    "texts": "a list of texts",
    "request": "an object of kind, wanted and reason",
    "changes": 'a list such as [{"setting": "learning_rate", "value": 0.002}]',
}
