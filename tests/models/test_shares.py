"""Which births count as failing and as repaired, beside the shares that the DARWIN paper reports."""

from __future__ import annotations

from darwin.loop import evolve
from darwin.memory.records import Individual, Status
from darwin.repairs import Shares, in_words, shares
from tests.models.brain import Brain, texts
from tests.models.scripted import ScriptedServer, failure


def birth(number: int, status: Status, **more) -> Individual:
    return Individual(
        id=f"g001-a{number}-1", ordinal=number, generation=1, commit="c", tree="t", code="x", operator="mutation",
        status=status, **{"model": "m", **more},
    )  # fmt: skip


def test_every_birth_that_a_model_answered_for_counts_but_those_that_were_nothing_new():
    people = [
        birth(1, Status.TRAINED),
        birth(2, Status.TRAINED, repairs=("e",)),
        birth(3, Status.FAILED, repairs=("e", "e", "e")),
        birth(4, Status.FAILED),
        birth(5, Status.DISQUALIFIED),
        birth(6, Status.REFUSED, unusable=True),
        birth(7, Status.REFUSED),
        birth(8, Status.BORN),
        birth(9, Status.FAILED, model=None),
    ]
    found = shares(people)
    assert found == Shares(written=6, failing=5, repaired=1, unusable=1)
    assert in_words(found) == (
        "Written by models: 6; 5 failed as first written, 1 of them for want of a usable answer (83.3 %; the DARWIN "
        "paper: 37.5 %), 1 of these were repaired (20.0 %, of all 16.7 %; the paper: 16.67 %)"
    )
    assert in_words(shares(people[:1])) == (
        "Written by models: 1; 0 failed as first written (0.0 %; the DARWIN paper: 37.5 %)"
    )


def test_a_run_counts_answers_that_could_not_be_used_and_not_those_that_never_came(models):
    """Ada's model keeps no form, Alan's edits never fit, Barbara's endpoint refuses; Claude's model works."""
    unfit = (
        '{"change": "x", "hypothesis": "y", "expected_log_perplexity": 0}\n### train.py\n<<<<<<< SEARCH\nno\n'
    )
    brain = Brain(99)
    answers = {
        "Ada": "I would rather not.",
        "Alan": unfit + "=======\nx\n>>>>>>> REPLACE\n",
        "Barbara": failure(400, "no thanks"),
    }

    def script(body):
        name = texts(body)[0].partition(",")[0].removeprefix("You are ")
        return answers.get(name) or brain(body)

    with ScriptedServer(script) as server, models(server, agents="openai:4") as run:
        evolve(run.evolution, 1)
        children = {i.author: i for i in run.evolution.memory.individuals.values() if i.author}
        assert [children[name].unusable for name in ("Ada", "Alan", "Barbara", "Claude")] == [
            True,
            True,
            False,
            False,
        ]
        assert {children[name].status for name in answers} == {Status.REFUSED}
        failed = children["Claude"].status is not Status.TRAINED
        found = shares(children.values())
        assert found == Shares(written=3, failing=2 + failed, repaired=0, unusable=2)
        assert f"{in_words(found)}." in run.said
