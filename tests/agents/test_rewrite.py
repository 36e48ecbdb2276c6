"""Agents and their proposals: whole, explained, never a no-op, never what is known."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from darwin.agents import Proposal, Refused, Task, fingerprint, rewrite, roster
from darwin.agents.errors import AgentError
from darwin.agents.inside.rules import TEMPERAMENTS
from darwin.agents.rules import RulesAgent, fit, subject, tally
from darwin.memory.records import AgentMemory, Attempt, Expectation, Lesson, Status

MakeTask = Callable[..., Task]


@dataclass
class Scripted:
    """An agent that offers what it was given, in turn."""

    offers: list[dict[str, str]]
    name: str = "Eve"
    kind: str = "scripted"
    temperament: str = "none"
    asked: list[int] = field(default_factory=list)

    def propose(self, task: Task) -> Proposal:
        self.asked.append(task.attempt)
        return Proposal(self.offers[len(self.asked) - 1], "Offer", "", Expectation())


@pytest.mark.parametrize("temperament", TEMPERAMENTS)
def test_a_proposal_is_whole_and_explained(temperament: str, task: MakeTask) -> None:
    agent = RulesAgent("Ada", temperament)
    for number in range(15):
        given = task(child=f"g001-ada-{number}", temperament=temperament)
        proposal = agent.propose(given)
        assert proposal == agent.propose(given)
        assert fingerprint(proposal.files) != fingerprint(given.files)
        assert proposal.files.keys() == given.files.keys()
        assert 0 < len(proposal.subject) <= 72
        assert proposal.hypothesis
        assert proposal.expected.log_perplexity is not None
        assert proposal.techniques or proposal.settings
        assert proposal.shown == ("individual:g000-base",)
        for old, new in proposal.settings.values():
            assert old != new


def test_a_lineage_is_rewritten_many_times_without_repeating_a_technique(task: MakeTask) -> None:
    given = task()
    seen = {fingerprint(given.files)}
    for number in range(12):
        agent = roster("rules:6")[number % 6]
        given = replace(given, child=f"g{number:03}", agent=agent.name, temperament=agent.temperament)
        proposal = rewrite(agent, given, seen.__contains__)
        assert not set(proposal.techniques) & set(given.applied)
        seen.add(fingerprint(proposal.files))
        given = replace(given, files=proposal.files, applied=(*given.applied, *proposal.techniques))


def test_what_it_was_given_is_named(task: MakeTask) -> None:
    lesson = Lesson(
        id="technique:muon", effect=-0.1, mfu=None, tried=1, failed=0, supporting=("g1",), contradicting=()
    )
    own = AgentMemory(
        name="Ada",
        kind="rules",
        temperament="bold",
        attempts=(Attempt(child="g001-ada-1", target="g0", owner="Alan", status=Status.TRAINED, delta=-0.1),),
    )
    proposal = RulesAgent("Ada", "bold").propose(task(lessons=(lesson,), own=own))
    assert proposal.shown == ("individual:g000-base", "lesson:technique:muon", "attempt:g001-ada-1")


def test_techniques_in_the_lineage_and_their_rivals_do_not_fit(task: MakeTask) -> None:
    before = {technique.id for technique in fit(task())}
    after = {technique.id for technique in fit(task(applied=("linear-to-zero",)))}
    assert before - after == {"linear-to-zero", "trapezoid"}


def test_techniques_whose_anchors_are_gone_do_not_fit(task: MakeTask, base: dict[str, str]) -> None:
    drifted = {
        **base,
        "model.py": base["model.py"].replace("    return F.gelu(x)\n", "    return F.elu(x)\n"),
    }
    assert "relu-squared" not in {technique.id for technique in fit(task(files=drifted))}


def test_what_nothing_fits_is_left_unchanged_and_refused(task: MakeTask) -> None:
    given = task(files={"train.py": "print('hello')\n"})
    with pytest.raises(Refused) as refused:
        rewrite(RulesAgent("Ada", "careful"), given, lambda code: False)
    assert refused.value.proposal.files == given.files
    assert refused.value.proposal.subject == "Change nothing: no idea fits this script"
    assert str(refused.value) == (
        "Ada offered nothing new in 8 attempts: the last was refused, it changes nothing."
    )


def test_no_ops_and_known_scripts_are_asked_again(task: MakeTask) -> None:
    agent = Scripted([{"a.py": "x=1"}, {"a.py": "x = 2"}, {"a.py": "x = 3"}])
    known = {fingerprint({"a.py": "x = 2"})}
    proposal = rewrite(agent, task(files={"a.py": "x = 1"}, attempt=4), known.__contains__)
    assert (proposal.files, agent.asked) == ({"a.py": "x = 3"}, [4, 5, 6])


def test_all_known_is_refused_with_the_last_proposal(task: MakeTask) -> None:
    agent = Scripted([{"a.py": "x = 2"}] * 3)
    with pytest.raises(Refused, match="its script is known already") as refused:
        rewrite(agent, task(), lambda code: True, attempts=3)
    assert refused.value.proposal.files == {"a.py": "x = 2"}


def test_a_roster_has_names_and_temperaments_in_order() -> None:
    agents = roster("rules:7")
    assert [agent.name for agent in agents] == [
        "Ada",
        "Alan",
        "Barbara",
        "Claude",
        "Donald",
        "Edsger",
        "Frances",
    ]
    assert {agent.kind for agent in agents} == {"rules"}
    assert [agent.temperament for agent in agents] == [*TEMPERAMENTS, next(iter(TEMPERAMENTS))]
    assert len({agent.name for agent in roster("rules:24")}) == 24


@pytest.mark.parametrize("specification", ["rules:", "rules:0", "rules:-1", "rules:99", "rules:²", "", "x:3"])
def test_a_bad_specification_is_one_sentence(specification: str) -> None:
    with pytest.raises(AgentError) as error:
        roster(specification)
    assert f'Agents "{specification}"' in str(error.value)
    assert "rules:6" in str(error.value)


def test_attempts_are_counted_by_idea() -> None:
    def attempt(status: Status, delta: float | None) -> Attempt:
        return Attempt(
            child="c",
            target="t",
            owner="Alan",
            techniques=("muon",),
            settings={"rate": (1, 2), "width": (4, 2)},
            status=status,
            delta=delta,
        )

    found = tally(
        [
            attempt(Status.TRAINED, -0.1),
            attempt(Status.TRAINED, -0.5),
            attempt(Status.FAILED, None),
            attempt(Status.REFUSED, None),
        ]
    )
    assert found == {
        key: {"tried": 3, "failed": 1} for key in ("technique:muon", "setting:rate:up", "setting:width:down")
    }


def test_a_subject_never_grows_too_long() -> None:
    many = {f"a_rather_long_setting_{n}": (1, 2) for n in range(9)}
    assert subject([], {"rate": (0.001, 0.002)}) == "Raise rate from 0.001 to 0.002"
    assert len(subject([], many)) == 72
