"""Requests: filed with the birth they came with, merged, shown, answered; and not asked again without new evidence."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from darwin.agents.inside.rules import at_limit
from darwin.agents.rules import RulesAgent
from darwin.errors import UsageError
from darwin.loop import evolve
from darwin.memory.notes import RECORDS
from darwin.memory.records import Expectation, Individual, Lesson, Trial, TrialStatus
from darwin.memory.requests import Kind, Ruling, State, Wish, filed, waiting
from darwin.requests import RULINGS, checked, reminder, take_up
from darwin.workspace import locked, open_workspace
from tests.asking.conftest import wishing
from tests.evolve import laboratory
from tests.people.test_everyday import darwin

EINOPS = Wish(
    kind=Kind.PACKAGE, wanted="einops", reason="shorter code", expected=Expectation(log_perplexity=-0.02)
)
OPTIM = Wish(kind=Kind.FILE, wanted="optim.py", reason="the optimizer deserves a file\x1b[2J of its own")


def shas(evolution) -> dict[str, str]:
    return {i.id: i.commit for i in evolution.memory.individuals.values()}


def child(number: int, author: str = "Ada") -> Individual:
    return Individual(
        id=f"c{number}", ordinal=number, generation=1, commit="c", tree="t", code="x", author=author,
        operator="mutation",
    )  # fmt: skip


def test_wishes_become_requests_that_merge_and_change_no_birth(asking, tmp_path, monkeypatch, capsys):
    quiet, _ = asking(wishing(), "quiet")
    evolve(quiet, 2)
    loud, _ = asking(
        wishing(ada=EINOPS, alan=EINOPS.model_copy(update={"wanted": "Einops==0.8.1"}), barbara=OPTIM), "loud"
    )
    evolve(loud, 2)
    assert shas(loud) == shas(quiet)
    askers = {r.id: set(r.askers) for r in loud.memory.requests.values()}
    assert askers == {"package-einops": {"Ada", "Alan"}, "file-optim.py": {"Barbara"}}
    read = subprocess.run(["git", "show", f"{RECORDS}:requests/file-optim.py.json"], cwd=tmp_path / "loud",
                          capture_output=True, check=True, text=True)  # fmt: skip
    projected = (tmp_path / "loud" / "memory" / "requests" / "file-optim.py.json").read_text()
    assert json.loads(read.stdout) == json.loads(projected)
    assert reminder(loud.memory) == "2 requests of agents wait: darwin requests"

    capsys.readouterr()
    assert darwin(monkeypatch, "requests", "-C", tmp_path / "loud") == 0
    said = capsys.readouterr().out
    assert said.index("package-einops") < said.index("file-optim.py"), "the most wanted first"
    assert "asked by 2 agents" in said and "expected -2.0 % perplexity" in said and "\x1b" not in said
    assert darwin(monkeypatch, "requests", "list", "--json", "-C", tmp_path / "loud") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in found] == ["open", "open"] and len(found[0]["askers"]) == 2
    assert darwin(monkeypatch, "requests", "show", "file", "-C", tmp_path / "loud") == 0
    assert (
        "Barbara, writing g001-barbara-1: the optimizer deserves a file [2J of its own"
        in capsys.readouterr().out
    )
    assert darwin(monkeypatch, "requests", "-C", tmp_path / "loud", "list") == 2
    assert darwin(monkeypatch, "requests", "show", "nothing", "-C", tmp_path / "loud") == 2
    assert darwin(monkeypatch, "status", "-C", tmp_path / "loud") == 0
    assert "2 requests of agents wait: darwin requests" in capsys.readouterr().out


def test_a_denial_is_told_to_everyone_and_not_asked_again(asking, tmp_path, monkeypatch, capsys):
    evolution, _ = asking(wishing(ada=EINOPS))
    evolve(evolution, 1)
    folder = tmp_path / "w"
    assert (
        darwin(monkeypatch, "requests", "deny", "package", "--reason", "torch.einsum does it", "-C", folder)
        == 0
    )
    evolution, tasks = asking(wishing(ada=EINOPS, alan=EINOPS))
    evolve(evolution, 2)
    request = evolution.memory.requests["package-einops"]
    assert request.state is State.DENIED and request.ruling.by == "Eve <eve@example.org>"
    assert waiting(evolution.memory.requests) == ()
    words = "denied, because: torch.einsum does it; ask again only with new evidence"
    assert tasks and all(words in task.requests[0] for task in tasks)
    assert darwin(monkeypatch, "requests", "list", "-C", folder) == 0
    assert "No request waits for an answer." in capsys.readouterr().out
    assert darwin(monkeypatch, "requests", "list", "--all", "-C", folder) == 0
    assert "package-einops" in capsys.readouterr().out


def test_an_answer_is_words_alone(asking, tmp_path, monkeypatch):
    evolution, _ = asking(wishing(ada=EINOPS))
    evolve(evolution, 1)
    assert (
        darwin(monkeypatch, "requests", "answer", "package", "Try torch.einsum.", "-C", tmp_path / "w") == 0
    )
    assert darwin(monkeypatch, "requests", "answer", "package", " ", "-C", tmp_path / "w") == 2
    memory = open_workspace(tmp_path / "w").memory
    assert memory.requests["package-einops"].state is State.ANSWERED
    evolution, tasks = asking(wishing())
    evolve(evolution, 2)
    assert "answered: Try torch.einsum." in tasks[0].requests[0]


def test_what_was_denied_is_open_again_once_as_much_new_evidence_speaks_for_it():
    born = {f"c{n}": child(n) for n in range(9)}
    wish = lambda *evidence: EINOPS.model_copy(update={"evidence": evidence})  # noqa: E731
    request = filed(None, wish("c1", "c2", "nobody"), child(3), born)
    assert request.evidence == ("c1", "c2")
    ruling = Ruling(request=request.id, number=1, state=State.DENIED, by="Eve", settled=4)
    denied = request.model_copy(update={"state": State.DENIED, "rulings": (ruling,)})
    assert filed(denied, wish("c2"), child(5), born) is None
    assert filed(denied, wish("c3"), child(5, "Alan"), born).state is State.DENIED, (
        "it was born before the denial"
    )
    one = filed(denied, wish("c5"), child(5), born)
    assert one.state is State.DENIED, "one new script against two"
    assert filed(one, wish("c6"), child(6, "Alan"), born).state is State.OPEN


def test_a_missing_import_is_asked_for_by_whoever_wrote_the_script(asking, monkeypatch):
    def fails(jobs, **_):
        for job, trial in laboratory.evaluate(jobs):
            if "ada" in job.label:
                error = "Traceback\nModuleNotFoundError: No module named 'einops.layers'"
                trial = Trial(
                    seed=job.seed, split="val", budget=job.budget, tokens=1, status=TrialStatus.CRASHED,
                    phase="train", error=error,
                )  # fmt: skip
            yield job, trial

    evolution, _ = asking(wishing())
    evolution.evaluate = fails
    evolve(evolution, 2)
    request = evolution.memory.requests["package-einops"]
    assert request.kind is Kind.PACKAGE and request.wanted == "einops" and request.askers == ("Ada",)
    failed = {
        i.id for i in evolution.memory.individuals.values() if i.author == "Ada" and i.operator == "mutation"
    }
    assert set(request.evidence) <= failed and "g001-ada-1" in request.evidence


def test_a_rule_based_agent_asks_for_a_budget_where_a_setting_that_helps_is_at_its_limit():
    helps = {
        "short": -0.05,
        "short_sd": 0.01,
        "long": -0.05,
        "long_sd": 0.01,
        "mfu": 0,
        "mfu_sd": 0,
        "tried": 2,
    }
    task = {
        "settings": {"n_layer": 6, "n_embd": 128, "n_head": 4, "mlp_ratio": 4.0}, "fixed": [], "context": 64,
        "steps": {"n_layer": 1.0, "n_embd": 1.0, "n_head": 1.0, "mlp_ratio": 1.0},
        "beliefs": {f"setting:{n}:up": {**helps, "tried": 0} for n in ("n_embd", "n_head", "mlp_ratio")},
    }  # fmt: skip
    task["beliefs"]["setting:n_layer:up"] = helps
    assert at_limit(task) == "n_layer"
    assert at_limit({**task, "room": 4.0}) is None, "there is room in a larger budget"
    doubtful = {**task["beliefs"], "setting:n_layer:up": {**helps, "long_sd": 0.06}}
    assert at_limit({**task, "beliefs": doubtful}) is None
    assert at_limit({**task, "fixed": ["n_layer"]}) is None


@pytest.mark.parametrize(
    ("kind", "wanted", "said"),
    [
        (Kind.BUDGET, "x2", "40ktok"),
        (Kind.BUDGET, "0.05Mtok", "50ktok"),
        (Kind.BUDGET, "40s", None),
        (Kind.BUDGET, "10ktok", None),
        (Kind.BUDGET, "x999", None),
        (Kind.FILE, "optim.py", "optim.py"),
        (Kind.FILE, "../optim.py", None),
        (Kind.FILE, ".optim.py", None),
        (Kind.FILE, "math.py", None),
        (Kind.FILE, "torch.py", None),
        (Kind.FILE, "оptim.py", None),
        (Kind.PACKAGE, "einops==0.8.1", "einops==0.8.1"),
        (Kind.PACKAGE, "einops; os.system('x')", None),
        (Kind.PACKAGE, "--index-url=http://x", None),
        (Kind.PACKAGE, "git+https://x/y", None),
        (Kind.PACKAGE, "numpy", None),
        (Kind.LAYOUT, "MLP,Block  from model.py to blocks.py", "MLP, Block from model.py to blocks.py"),
        (Kind.LAYOUT, "MLP from model.py to ../blocks.py", None),
        (Kind.LAYOUT, "make it nicer", None),
        (Kind.DATASET, "", None),
    ],
)
def test_a_wish_has_one_form_or_is_refused(asking, kind, wanted, said):
    run, _ = asking(wishing())
    wish = Wish(kind=kind, wanted=wanted, reason="why")
    if said is None:
        with pytest.raises(UsageError):
            checked(wish, run.run)
    else:
        assert checked(wish, run.run).wanted == said


def test_a_wish_that_cannot_be_read_costs_nothing(asking):
    evolution, _ = asking(wishing(ada=replace_wanted("..\x00/x")))
    evolve(evolution, 1)
    assert not evolution.memory.requests and evolution.run.generation == 1


def replace_wanted(wanted: str) -> Wish:
    return OPTIM.model_copy(update={"wanted": wanted})


def test_a_ruling_left_while_a_run_holds_the_workspace_is_carried_out_once(
    asking, tmp_path, monkeypatch, capsys
):
    evolution, _ = asking(wishing(ada=EINOPS))
    evolve(evolution, 1)
    folder = tmp_path / "w"
    with locked(folder):
        assert darwin(monkeypatch, "requests", "deny", "package", "--reason", "no", "-C", folder) == 0
    assert "The run that is going on carries it out" in capsys.readouterr().out
    left = (folder / RULINGS / "package-einops.json").read_bytes()
    memory = open_workspace(folder).memory
    assert len(take_up(memory, folder)) == 1 and memory.requests["package-einops"].state is State.DENIED
    (folder / RULINGS / "package-einops.json").write_bytes(
        left
    )  # a kill after the record, before the file went
    assert take_up(memory, folder) == [] and len(memory.requests["package-einops"].rulings) == 1
    (folder / RULINGS / "package-einops.json").write_bytes(left.replace(b'"no"', b'"never"'))
    assert "answered meanwhile" in take_up(memory, folder)[0]
    (folder / RULINGS / "torn.json").write_bytes(b"{")
    assert "no ruling that can be read" in take_up(memory, folder)[0]
    assert not list((folder / RULINGS).iterdir())


def test_a_setting_at_its_limit_becomes_a_request_for_twice_the_budget(asking):
    def limited(task, proposal):
        """What a rule-based agent answers where its program says that a setting is at its limit."""
        lesson = Lesson(
            id="setting:n_layer:up", effect=-0.04, mfu=0.0, tried=2, failed=0, contradicting=(),
            supporting=("g000-base",),
        )  # fmt: skip
        answer = {"techniques": [], "settings": {}, "hypothesis": "", "at_limit": "n_layer"}
        agent = RulesAgent(task.agent, task.temperament, ask=lambda _: answer)
        return replace(proposal, wish=agent.propose(replace(task, lessons=(lesson,))).wish)

    evolution, _ = asking(limited)
    evolve(evolution, 1)
    (request,) = evolution.memory.requests.values()
    assert (request.id, request.wanted, request.evidence) == ("budget-40ktok", "40ktok", ("g000-base",))
    assert len(request.askers) == 4 and all(a.expected.log_perplexity is not None for a in request.askings)
    assert "n_layer helps by growing (2 trials) and is at its limit" in request.askings[0].reason
