"""The models of one batch are asked at the same time; records, commits and limits are as if they were not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from darwin.agents.errors import ModelsStopped
from darwin.agents.ledger import Allowance
from darwin.births import bear
from darwin.loop import evolve, next_births
from darwin.noise import measure_noise
from tests.models.brain import Brain, role_of, texts
from tests.models.scripted import Break, ScriptedServer, failure

STUCK = 30.0
"""Seconds after which a barrier says that nobody else came."""


def commits(run) -> dict[str, str]:
    return {i.id: i.commit for i in run.evolution.memory.individuals.values()}


def proposing(body) -> bool:
    return role_of(texts(body)[0]) == "researcher"


def meeting(barrier: threading.Barrier, last_first: bool = False):
    """A model that answers no researcher before both have asked; on demand the later birth before the earlier."""
    brain, answered = Brain(99), threading.Event()

    def script(body):
        if not proposing(body):
            return brain(body)
        try:
            barrier.wait(STUCK)
        except threading.BrokenBarrierError:
            return failure(400, "the other one never asked")
        early = "You are Ada, one" in texts(body)[0]
        if last_first and early:
            answered.wait(STUCK)
        answer = brain(body)
        if not early:
            answered.set()
        return answer

    return script


def test_two_exchanges_of_one_batch_overlap_and_change_no_commit(models):
    with ScriptedServer(Brain(99)) as server, models(server, folder="alone", agents="openai:2") as run:
        run.evolution.gateway.roomy = lambda prompts, calls: False  # one after the other
        evolve(run.evolution, 1)
        alone, asked = commits(run), len(server.requests)
    for last_first in (False, True):
        script = meeting(threading.Barrier(2), last_first)
        with (
            ScriptedServer(script) as server,
            models(server, folder=f"both-{last_first}", agents="openai:2") as run,
        ):
            evolve(run.evolution, 1)
            assert commits(run) == alone
            assert len(server.requests) == asked == run.evolution.gateway.ledger.total().calls
            children = [i for i in run.evolution.memory.individuals.values() if i.author]
            assert [i.ordinal for i in children] == [1, 2] and all(i.usage.calls for i in children)
            assert run.said.index("g001-ada-1") < run.said.index("g001-alan-1")


def test_near_a_limit_they_ask_one_after_the_other(models):
    under_way, most = threading.Semaphore(1), []

    def script(body):
        most.append(under_way.acquire(blocking=False))
        answer = Brain(99)(body)
        under_way.release()
        return answer

    with ScriptedServer(script) as server, models(server, agents="openai:2") as run:
        gateway = run.evolution.gateway
        gateway.ledger._whole = Allowance(calls=3)
        assert not gateway.roomy({"Ada": 100, "Alan": 100}, 2) and gateway.roomy({"Ada": 100}, 3)
        evolve(run.evolution, 2)
        assert len(server.requests) == 3 == gateway.ledger.total().calls and all(most)


def test_an_error_of_the_second_author_is_its_own_and_a_killed_run_pays_for_nothing_twice(models):
    brain = Brain(99)
    barrier = threading.Barrier(2)

    def script(body):
        if proposing(body):
            barrier.wait(STUCK)
            if "You are Alan, one" in texts(body)[0]:
                return failure(400, "no such thing")
        return brain(body)

    class Killed(BaseException):
        pass

    def dying(*records, **_):
        raise Killed

    with ScriptedServer(script) as server:
        with models(server, agents="openai:2") as run:
            measure_noise(run.evolution)
            births = next_births(run.evolution, 1)
            record, run.evolution.memory.record = run.evolution.memory.record, dying
            with pytest.raises(Killed):
                bear(run.evolution, births)
            run.evolution.memory.record = record
        server.script = brain
        with models(server, agents="openai:2") as run:
            first, second = bear(run.evolution, next_births(run.evolution, 1))
            asked = [texts(b)[0].partition(",")[0] for b in server.requests if proposing(b)]
            assert sorted(asked) == ["You are Ada", "You are Alan", "You are Alan"], "Ada's answer was kept"
            assert (first.author, second.author) == ("Ada", "Alan")


def test_an_answer_that_cannot_be_used_is_asked_for_again(models):
    brain, asked = Brain(99), []

    def script(body):
        if not proposing(body) or len(asked) >= 2:
            return brain(body)
        asked.append(body)
        return brain(body).replace("warmup_fraction", "no_such_setting", 1)

    with ScriptedServer(script) as server, models(server, agents="openai:2") as run:
        evolve(run.evolution, 1)
        children = [i for i in run.evolution.memory.individuals.values() if i.author]
        assert [i.status == "refused" for i in children] == [False, False]
        assert len([b for b in server.requests if proposing(b)]) == 4


def test_what_was_raised_is_raised_where_the_answer_is_waited_for(models):
    with ScriptedServer(Brain(99)) as server, models(server, agents="openai:2") as run:
        measure_noise(run.evolution)
        server.key = "sk-another"
        with pytest.raises(ModelsStopped, match="not accept the key"):
            bear(run.evolution, next_births(run.evolution, 1))
        assert len(run.evolution.memory.individuals) == 1


@pytest.fixture
def interruptible():
    """Ctrl-C as in a shell: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_does_not_wait_for_a_model(models, interruptible):
    asked = threading.Event()

    def script(body):
        if asked.is_set():  # both have asked, and neither gets an answer
            os.kill(os.getpid(), signal.SIGINT)
        asked.set()
        return Break("hang")

    with ScriptedServer(script) as server, models(server, agents="openai:2") as run:
        measure_noise(run.evolution)
        for upstream in run.evolution.gateway._upstreams.values():
            upstream._answer_seconds = STUCK
        with pytest.raises(KeyboardInterrupt):
            bear(run.evolution, next_births(run.evolution, 1))
        assert len(run.evolution.memory.individuals) == 1
