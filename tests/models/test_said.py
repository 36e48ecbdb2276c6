"""What a model does wrong is said on the screen, each in one line, and costs nothing but the asking."""

from __future__ import annotations

from darwin.loop import evolve
from darwin.memory.records import Status
from tests.models.brain import Brain, role_of, texts
from tests.models.scripted import ScriptedServer, completion, failure

UNFIT = (
    '{"change": "x", "hypothesis": "y", "expected_log_perplexity": 0}\n### train.py\n'
    "<<<<<<< SEARCH\nno such line\n=======\nx = 1\n>>>>>>> REPLACE\n"
)
FAULTS = {
    "empty": ("Ada", "", "as its answer cannot be used: it was empty."),
    "refusing": ("Ada", completion("No.", refusal="No."), "as its answer cannot be used: it was a refusal"),
    "cut off": ("Alan", completion('{"change": "x', finish="length"), "cannot be used: it was cut off"),
    "no JSON": ("Alan", "I would train longer.", "cannot be used: it holds no JSON object"),
    "wrong schema": ("Barbara", '{"change": 5}', 'cannot be used: "change" should be a text, and is 5.'),
    "too long": ("Barbara", failure(400, "context length exceeded"), "tokens too long: asked with a shorter"),
    "unfit edit": ("Claude", UNFIT, "Claude is asked again: it could not be used ("),
    "nothing new": ("Claude", UNFIT.replace("no such line", "import math").replace("x = 1", "import math"),
                    "Claude is asked again: it changes nothing"),
}  # fmt: skip
"""The agent whose model answers so, its answer, and the words of the one line."""


def test_each_fault_is_said_in_one_line_and_no_child_is_lost(models):
    brain = Brain(99)
    left = {name: [a for who, a, _ in FAULTS.values() if who == name] for name, _, _ in FAULTS.values()}

    def script(body):
        system = texts(body)[0]
        name = system.partition(",")[0].removeprefix("You are ")
        return left[name].pop(0) if role_of(system) == "researcher" and left[name] else brain(body)

    with ScriptedServer(script) as server, models(server, agents="openai:4") as run:
        evolve(run.evolution, 1)
        children = [i for i in run.evolution.memory.individuals.values() if i.author]
        assert len(children) == 4 and not any(i.status is Status.REFUSED for i in children)
        said = run.said.splitlines()
    for fault, (name, _, words) in FAULTS.items():
        found = [line for line in said if words in line and line.startswith(f"g001-{name.lower()}-1 ")]
        assert len(found) == 1, (fault, found, said)


def test_an_engineer_that_never_mends_has_three_tries_and_its_child_fails_and_is_kept(models):
    brain = Brain(1)

    def script(body):
        if role_of(texts(body)[0]) != "engineer":
            return brain(body)
        again = sum(role_of(texts(b)[0]) == "engineer" for b in server.requests)
        return (
            f'{{"diagnosis": "it is well"}}\n### train.py\n<<<<<<< SEARCH\nimport math\n=======\nimport math\n'
            f"tried = {again}\n>>>>>>> REPLACE\n"
        )

    with ScriptedServer(script) as server, models(server, agents="openai:2") as run:
        evolve(run.evolution, 1)
        children = [i for i in run.evolution.memory.individuals.values() if i.author]
        for child in children:
            asked = [e["role"] for e in run.evolution.gateway.transcripts.read(child.id)]
            assert asked.count("engineer") == 3 and len(child.repairs) == 3
            assert child.status is Status.FAILED and "planted_failure" in child.trials[0].error
            assert f"{child.id:14} {child.author} repairs it, 3 of 3" in run.said
            assert f"{child.id:14} goes to its trial unrepaired: 3 tries did not mend it." in run.said
            kept = run.evolution.workspace.lineage.files(f"refs/darwin/individuals/{child.id}")
            assert b"planted_failure" in kept["train.py"]
        assert "repairs it, 4" not in run.said
        assert run.evolution.run.generation == 1
