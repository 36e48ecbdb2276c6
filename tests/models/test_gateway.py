"""The gateway: what it forwards, counts, limits, keeps to itself, and how it bears an endpoint's faults."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

import pytest

from darwin.agents.errors import AgentError, ModelsStopped, Unanswered
from darwin.agents.gateway import SOCKET, Gateway, Seat
from darwin.agents.inside import chat
from darwin.agents.ledger import FREE, Allowance, Ledger, LimitReached, Price
from darwin.agents.transcripts import Call, Recording, Transcripts
from darwin.agents.upstream import Endpoint, Rejected, Upstream
from darwin.memory.records import Usage
from tests.models.scripted import KEY, Break, Raw, ScriptedServer, completion, failure

WANTS = {"lesson": "text"}
GOOD = '{"lesson": "fine"}'


class Place:
    """A gateway with one seat for Ada, asked as her program asks; what would be waited is written down."""

    def __init__(self, server, folder: Path, **options) -> None:
        self.server, self.folder = server, folder
        self.waited: list[float] = []
        self.said: list[str] = []
        self.price = options.pop("price", FREE)
        self.whole = options.pop("whole", Allowance())
        self.each = options.pop("each", Allowance())
        self.patience = options.pop("patience", 240.0)
        self.replay = options.pop("replay", None)
        self.gateway = self.open()

    def open(self) -> Gateway:
        transcripts = Transcripts(self.folder / "transcripts")
        endpoint = Endpoint(self.server.url, KEY)
        return Gateway(
            [Seat("Ada", "m", endpoint, self.price, 500)],
            Ledger(self.whole, {"Ada": self.each}, transcripts.spent()),
            transcripts,
            replay=self.replay,
            say=self.said.append,
            upstream=lambda e, say: Upstream(e, self.waited.append, say, 0.3, self.patience),
            folder=self.folder / "sockets",
        )

    def ask(self, text: str = "hello", child: str = "g001-ada-1", **more) -> dict:
        task = {
            "kind": "openai", "gateway": str(self.gateway.folder("Ada")), "wants": WANTS, "form": "json",
            "messages": [{"role": "user", "content": text}], "max_tokens": 300, "temperature": 0.5, **more,
        }  # fmt: skip
        with self.gateway.calling("Ada", child, "researcher"):
            return chat.converse(task)

    def exchanges(self) -> list[dict]:
        return list(self.gateway.transcripts.all())


@pytest.fixture
def place(tmp_path):
    """``place(script)``: opened with a server for that script, closed at the end."""
    opened = []

    def make(script, key=KEY, **options) -> Place:
        server = ScriptedServer(script, key=key).__enter__()
        opened.append(Place(server, tmp_path / str(len(opened)), **options))
        return opened[-1]

    yield make
    for one in opened:
        one.gateway.close()
        one.server.__exit__()


def in_turn(*answers):
    """A script that gives these answers, the last one for ever."""
    left = list(answers)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]


def test_a_request_is_forwarded_with_the_agents_model_and_counted_by_the_endpoints_usage(place):
    here = place(lambda body: completion(GOOD, prompt=123, answer=45), price=Price(1.0, 10.0))
    assert here.ask()["head"] == {"lesson": "fine"}
    assert here.server.requests == [{"model": "m", "messages": [{"role": "user", "content": "hello"}],
                                     "temperature": 0.5, "max_tokens": 300}]  # fmt: skip
    spent = here.gateway.ledger.total()
    assert (spent.calls, spent.prompt_tokens, spent.completion_tokens) == (1, 123, 45)
    assert spent.dollars == pytest.approx((123 + 450) / 1e6)
    assert here.server.keys == [f"Bearer {KEY}"]


def test_an_endpoint_that_bills_is_believed(place):
    def script(body):
        answer = completion(GOOD)
        answer.body["usage"]["cost"] = 0.25
        return answer

    here = place(script, price=Price(1.0, 1.0))
    here.ask()
    assert here.gateway.ledger.total().dollars == 0.25


def test_an_agent_cannot_choose_a_model_nor_lengthen_an_answer_nor_ask_for_anything_else(place):
    here = place(lambda body: GOOD)
    path = here.gateway.folder("Ada") / SOCKET

    def post(url: str, body: bytes) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("gateway")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("POST", url, body)
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    asked = {"model": "dear", "n": 50, "max_tokens": 10**9, "stream": True, "tools": [], "messages": []}
    with here.gateway.calling("Ada", "g001-ada-1", "researcher"):
        assert post("/v1/chat/completions", json.dumps(asked).encode())[0] == 200
        assert post("/v1/files", b"{}")[0] == 404
        assert post("/v1/chat/completions", b"[1]")[0] == 400
        assert post("/v1/chat/completions", b"{")[0] == 400
    assert here.server.requests == [{"model": "m", "messages": [], "max_tokens": 500}]
    assert post("/v1/chat/completions", json.dumps(asked).encode())[0] == 503, "it has no task now"


WAITED = [
    ("429 with Retry-After", failure(429, "slow down", {"Retry-After": "7"}), [7.0]),
    ("429 with Retry-After-Ms", failure(429, "slow down", {"retry-after-ms": "250"}), [0.25]),
    ("429 without", failure(429, "slow down"), [1.0]),
    ("500", failure(500, "oops"), [1.0]),
    ("503", Raw(503, "<html>busy</html>"), [1.0]),
    ("a closed connection", Break("close"), [1.0]),
    ("a dropped stream", Break("drop"), [1.0]),
    ("a hanging connection", Break("hang"), [1.0]),
    ("a page in place of a completion", Raw(200, "<html>hello</html>"), [1.0]),
    ("a completion without choices", Raw(200, {"choices": []}), [1.0]),
    ("a truncated body", Raw(200, '{"choices": [{"message": {"con'), [1.0]),
]


@pytest.mark.parametrize(("fault", "waited"), [row[1:] for row in WAITED], ids=[row[0] for row in WAITED])
def test_a_passing_fault_is_waited_out_and_said_in_one_line(place, fault, waited):
    here = place(in_turn(fault, GOOD))
    assert here.ask()["head"] == {"lesson": "fine"}
    assert here.waited == waited
    assert len(here.said) == 2 and "asking again" in here.said[0] and "answers again" in here.said[1]
    assert here.exchanges()[0]["retries"] == 1
    assert here.gateway.ledger.total().calls == 1


def test_an_endpoint_gone_for_a_minute_is_waited_for(place):
    here = place(in_turn(*[failure(503, "starting")] * 6, GOOD))
    assert here.ask()["head"] == {"lesson": "fine"}
    assert here.waited == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0] and sum(here.waited) > 60


def test_an_endpoint_that_stays_away_is_given_up_on_and_after_three_children_the_run_ends(place):
    here = place(lambda body: failure(503, "no"), patience=3.0)
    for number in range(3):
        assert here.gateway.stopped is None
        error = here.ask(child=f"g001-ada-{number}")["error"]
        assert (error["type"], "given up after 3 tries" in error["message"]) == ("unavailable", True)
    assert "3 questions in a row unanswered" in here.gateway.stopped
    assert here.ask(child="g001-ada-9")["error"]["type"] == "unavailable"
    assert len(here.server.requests) == 9, "once stopped, nobody is asked"


def test_a_retry_after_beyond_all_patience_is_not_waited_for(place):
    here = place(lambda body: failure(429, "tomorrow", {"Retry-After": "86400"}))
    assert "given up after 1 tries" in here.ask()["error"]["message"]
    assert here.waited == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), "does not accept the key"),
        (failure(403, "forbidden"), "does not accept the key"),
        (failure(402, "pay"), "has no credit left"),
        (failure(429, "quota", code="insufficient_quota"), "has no credit left"),
        (failure(404, "no such model"), 'does not know the model "m"'),
    ],
)
def test_what_waiting_cannot_mend_stops_at_once_with_one_sentence(place, fault, words):
    here = place(lambda body: fault)
    error = here.ask()["error"]
    assert error["type"] == "stopped" and words in error["message"] and KEY not in error["message"]
    assert here.waited == [] and len(here.server.requests) == 1
    with pytest.raises(ModelsStopped, match=words), here.gateway.calling("Ada", "c", "researcher"):
        here.gateway.complete("Ada", {"messages": [{"role": "user", "content": "x"}]})


@pytest.mark.parametrize(
    "fault",
    [
        failure(400, "too much", code="context_length_exceeded"),
        failure(400, "This model's maximum context length is 4096 tokens, however you requested 9000."),
        failure(400, "the request exceeds the available context size"),
        failure(413, "prompt is longer than the context"),
    ],
)
def test_a_prompt_that_is_too_long_is_told_apart(place, fault):
    here = place(lambda body: fault)
    assert here.ask()["error"]["type"] == "context"
    assert here.waited == []


def test_a_parameter_that_the_model_refuses_is_left_out_from_then_on(place):
    def script(body):
        if "max_tokens" in body:
            return failure(
                400,
                "Unsupported parameter: 'max_tokens'.",
                param="max_tokens",
            )
        if "temperature" in body:
            return failure(400, "Unsupported value: 'temperature' does not support 0.5", param="temperature")
        return GOOD

    here = place(script)
    assert here.ask()["head"] and here.ask("again")["head"]
    assert len(here.server.requests) == 4
    assert here.server.requests[-1]["max_completion_tokens"] == 300


def test_any_other_400_costs_the_child_alone(place):
    here = place(in_turn(failure(400, "no thanks"), GOOD))
    assert here.ask()["error"]["type"] == "rejected"
    assert here.ask("again")["head"] and here.gateway.stopped is None


ANSWERS = [
    ("empty", ""),
    ("blank", "  \n"),
    ("refusing", completion("I cannot help with that.", refusal="I cannot")),
    ("filtered", completion("", finish="content_filter")),
    ("cut off", completion('{"lesson": "long', finish="length")),
    ("no JSON", "I would change the learning rate."),
    ("wrong type", '{"lesson": 5}'),
    ("another schema", '{"answer": "yes"}'),
    ("null", completion(None)),
    ("half an object", '{"lesson": "x"'),
]


@pytest.mark.parametrize("answer", [row[1] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_an_answer_without_the_form_is_asked_for_again_and_told_why(place, answer):
    here = place(in_turn(answer, GOOD))
    assert here.ask()["head"] == {"lesson": "fine"}
    told = here.server.requests[1]["messages"]
    assert [m["role"] for m in told] == ["user", "assistant", "user"] and "cannot be used" in told[-1][
        "content"
    ]


@pytest.mark.parametrize("answer", [row[1] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_after_two_more_tries_the_child_is_gone_without(place, answer):
    here = place(lambda body: answer)
    assert here.ask()["error"]["type"] == "unusable"
    assert len(here.server.requests) == 3 == here.gateway.ledger.total().calls


def test_a_head_is_found_in_prose_fences_and_after_thoughts(place):
    for text in (
        f"Sure!\n```json\n{GOOD}\n```\nDone.",
        f'<think>{{"lesson": "no"}}</think>{GOOD}',
        f'{{"result": {GOOD}}}',
        f"{{not json}} {GOOD}",
    ):
        assert place(lambda body, text=text: text).ask()["head"] == {"lesson": "fine"}


@pytest.mark.parametrize(
    ("limits", "made"),
    [
        ({"whole": Allowance(calls=2)}, 2),
        ({"each": Allowance(calls=2)}, 2),
        ({"whole": Allowance(tokens=900)}, 5),
        ({"each": Allowance(dollars=0.0013), "price": Price(1.0, 1.0)}, 9),
        ({"whole": Allowance(dollars=0.0013), "price": Price(1.0, 1.0)}, 9),
    ],
)
def test_a_limit_is_never_passed_and_ends_the_asking(place, limits, made):
    here = place(lambda body: completion(GOOD, prompt=100, answer=20), **limits)
    answers = [here.ask(str(number)) for number in range(12)]
    assert ["head" in answer for answer in answers] == [True] * made + [False] * (12 - made)
    assert (
        answers[made]["error"]["type"] == "limit"
        and "is reached" in answers[made]["error"]["message"] + " is reached"
    )
    assert here.gateway.stopped and len(here.server.requests) == made


def test_limits_count_what_an_earlier_run_has_spent(place):
    here = place(lambda body: GOOD, whole=Allowance(calls=2))
    here.ask("one"), here.ask("two")
    here.gateway.close()
    here.gateway = here.open()
    here.gateway.require_room({"Ada": 100})
    assert "limit of 2 calls" in here.gateway.stopped


def test_a_limit_that_leaves_no_room_for_one_call_is_refused_at_the_start(place):
    here = place(lambda body: GOOD, whole=Allowance(dollars=0.00001), price=Price(1.0, 1.0))
    with pytest.raises(AgentError, match="Not one call can be made"):
        here.gateway.require_room({"Ada": 1000})


def test_a_reserved_call_counts_until_it_is_settled():
    ledger = Ledger(Allowance(calls=1), {})
    one = Usage(calls=1)
    ledger.reserve("Ada", one)
    with pytest.raises(LimitReached):
        ledger.reserve("Alan", one)
    ledger.settle(None, "Ada", one)
    ledger.reserve("Alan", one)


def test_a_restarted_gateway_is_found_again(place, monkeypatch):
    here = place(lambda body: GOOD)
    here.gateway.close()
    opened = []

    def sleep(seconds: float) -> None:
        if len(opened) == 2:
            here.gateway = here.open()
            here.gateway._calls["Ada"] = Call("c", "researcher")
        opened.append(seconds)

    monkeypatch.setattr(chat.time, "sleep", sleep)
    request = {"messages": [{"role": "user", "content": "x"}]}
    assert chat.ask(str(here.folder / "sockets" / "ada"), request)[0] == 200
    assert len(opened) == 3


def test_a_gateway_that_stays_away_is_an_error_and_no_hang(place, monkeypatch):
    here = place(lambda body: GOOD)
    here.gateway.close()
    monkeypatch.setattr(chat.time, "sleep", lambda seconds: None)
    assert chat.ask(str(here.folder / "sockets" / "ada"), {})[1]["error"]["type"] == "unavailable"


def test_an_exchange_that_was_paid_for_is_not_paid_for_again(place):
    here = place(lambda body: GOOD)
    here.ask("one")
    here.gateway.close()
    here.gateway = here.open()
    assert here.ask("one")["head"] == {"lesson": "fine"} and len(here.server.requests) == 1
    here.ask("two")
    here.ask("one", child="g001-ada-2")
    assert len(here.server.requests) == 3, "another question, or another child, is asked"


def test_a_torn_line_is_ended_and_left_out(place):
    here = place(lambda body: GOOD)
    here.ask("one")
    path = here.gateway.transcripts.path("g001-ada-1")
    path.write_text(path.read_text() + '{"agent": "Ada", "chi')
    here.ask("two")
    assert [e["request"]["messages"][0]["content"] for e in here.exchanges()] == ["one", "two"]


def test_a_recording_answers_without_a_model_and_says_when_it_is_at_its_end(place):
    here = place(in_turn('{"lesson": "first"}', '{"lesson": "second"}'))
    here.ask("one"), here.ask("two")
    recording = Recording(here.folder / "transcripts")
    there = place(lambda body: failure(500), replay=recording)
    assert [there.ask(t)["head"]["lesson"] for t in ("a", "b")] == ["first", "second"]
    error = there.ask("c")["error"]
    assert error["type"] == "stopped" and "no further answer for g001-ada-1" in error["message"]
    assert there.server.requests == [] and there.gateway.ledger.total().calls == 0


def test_a_folder_without_transcripts_cannot_be_replayed(tmp_path):
    with pytest.raises(AgentError, match="holds no transcripts"):
        Recording(tmp_path)


def test_the_key_is_in_no_transcript_error_or_printout_even_if_the_endpoint_sends_it_back(place):
    here = place(
        in_turn(failure(500, f"bad {KEY}"), completion(json.dumps({"lesson": f"your key is {KEY}"})))
    )
    assert KEY not in json.dumps(here.ask())
    refused = place(lambda body: failure(400, f"bad {KEY}"))
    refused.ask()
    seat = Seat("Ada", "m", Endpoint("http://x", KEY), None, 1)
    everything = repr(here.gateway._seats) + repr(seat) + "".join(here.said)
    everything += "".join(p.read_text() for one in (here, refused) for p in one.folder.rglob("*.jsonl"))
    assert KEY not in everything and "[key]" in everything


def test_a_redirect_is_not_followed_with_the_key(place):
    other = ScriptedServer(lambda body: GOOD)
    with other:
        here = place(lambda body: Raw(302, "", {"Location": other.url + "/chat/completions"}))
        assert here.ask()["error"]["type"] == "rejected"
    assert other.requests == [] and len(here.server.requests) == 1


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (Raw(200, "<html>"), "does not speak the OpenAI API"),
        (Raw(200, {"models": []}), "does not speak the OpenAI API"),
        (Raw(404, "nothing here"), "does not speak the OpenAI API"),
        (Raw(500, "oops"), "does not speak the OpenAI API"),
    ],
)
def test_an_endpoint_that_is_none_is_named(models, words):
    with ScriptedServer(lambda body: GOOD, models=models) as server, pytest.raises(AgentError, match=words):
        Upstream(Endpoint(server.url)).models()


def test_endpoints_say_what_they_offer_or_that_they_keep_no_list():
    with ScriptedServer(lambda body: GOOD, models=("a", "b")) as server:
        assert Upstream(Endpoint(server.url)).models() == ("a", "b")
    with ScriptedServer(lambda body: GOOD, models=failure(404, "no list")) as server:
        assert Upstream(Endpoint(server.url)).models() == ()
    with ScriptedServer(lambda body: GOOD, key=KEY) as server, pytest.raises(ModelsStopped) as stopped:
        Upstream(Endpoint(server.url, "sk-wrong")).models()
    assert "sk-wrong" not in str(stopped.value)
    with pytest.raises(AgentError, match="cannot be reached"):
        Upstream(Endpoint("http://127.0.0.1:9/v1")).models()


def test_rejections_and_losses_are_unanswered():
    assert issubclass(Rejected, Unanswered) and issubclass(LimitReached, Unanswered)
