"""An idea that was tried on a script's lineage is told to whoever proposes it again, before it costs anything."""

from __future__ import annotations

from darwin.births import bear
from darwin.loop import evolve
from darwin.memory.records import Status
from darwin.variation import Birth
from tests.models.brain import Brain, data_of, role_of, texts
from tests.models.scripted import ScriptedServer


def idea(body, last: str) -> str:
    """A rewrite of many lines, the last of which is another each time."""
    first = data_of(texts(body)[1])["train.py"].splitlines()[0]
    lines = "\n".join([*(f"extra_{n} = {n}" for n in range(30)), last])
    head = '{"change": "Extra", "hypothesis": "x", "family": "schedule", "expected_log_perplexity": 0}'
    return f"{head}\n### train.py\n<<<<<<< SEARCH\n{first}\n=======\n{first}\n>>>>>>> REPLACE\n".replace(
        "=======\n" + first, f"=======\n{lines}\n{first}"
    )


def test_what_was_tried_on_an_ancestor_is_nearly_known_and_asked_again_at_most_twice(models):
    """Ada's idea of generation 1 rewrote the base; what she rewrites later is the base's grandchild."""
    brain, asked = Brain(99), []

    def script(body):
        system, user = texts(body)
        if role_of(system) != "researcher" or "You are Ada," not in system:
            return brain(body)
        asked.append(user)
        return idea(body, f"extra_last = {len(asked)}")

    with ScriptedServer(script) as server, models(server, agents="openai:2") as run:
        evolution = run.evolution
        evolve(evolution, 1)
        people = evolution.memory.individuals
        ada, alan = (next(i for i in people.values() if i.author == name) for name in ("Ada", "Alan"))
        (child,) = bear(evolution, [Birth("g002-alan-1", 3, 2, "Alan", "Ada", alan.id, 5)])
        del asked[:]
        (late,) = bear(evolution, [Birth("g003-ada-1", 4, 3, "Ada", "Alan", child.id, 6)])
    assert alan.parents == ("g000-base",) and child.parents == (alan.id,)
    words = f"it is nearly what {ada.id} changed, which was tried already"
    assert len(asked) == 3 and words not in asked[0] and words in asked[1] and asked[2].count(words) == 2
    assert late.status is Status.REFUSED and words in late.reason and not late.unusable
    assert run.said.count(f"g003-ada-1     Ada is asked again: {words}") == 2
