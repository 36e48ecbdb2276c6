"""A granted package is a layer of the image, locked by hash, that later trials can import and their records name."""

from __future__ import annotations

from dataclasses import replace

from darwin.begin import ANCESTOR, begin
from darwin.confinement import confined
from darwin.loop import evolve
from darwin.memory.records import Trial, TrialStatus
from darwin.memory.requests import State
from darwin.sandbox import Job
from darwin.screen import Screen
from darwin.workspace import open_workspace
from tests.asking.conftest import Asker
from tests.engine import require_engine
from tests.evolve import laboratory
from tests.people.test_everyday import darwin

IMPORTS = "import einops\n"


def failing(jobs, **_):
    """The laboratory, where nobody has einops."""
    for job, trial in laboratory.evaluate(jobs):
        if IMPORTS.encode() in job.files["train.py"]:
            common = {"seed": job.seed, "split": "val", "budget": job.budget, "tokens": 1, "phase": "train"}
            error = "ModuleNotFoundError: No module named 'einops'"
            trial = Trial(**common, status=TrialStatus.CRASHED, error=error)
        yield job, trial


def importing(task, proposal):
    texts = {**proposal.files, "train.py": IMPORTS + proposal.files["train.py"]}
    return replace(proposal, files=texts) if IMPORTS not in proposal.files["train.py"] else proposal


def a_generation(folder, data, target, evaluate):
    evolution = laboratory.start(
        folder, data, agents="rules:2", approve="defer", budget="20ktok", sandbox="docker"
    )
    evolution.agents = {name: Asker(agent, importing, []) for name, agent in evolution.agents.items()}
    evolution.evaluate = evaluate
    evolve(evolution, target)
    return evolution


def test_a_package_that_was_missing_is_granted_locked_and_used(
    clean_environment, tmp_path, monkeypatch, capsys
):
    require_engine()
    folder, data = tmp_path / "w", laboratory.data_set(tmp_path)
    evolution = a_generation(folder, data, 1, failing)
    (request,) = evolution.memory.requests.values()
    assert (request.id, request.state) == ("package-einops", State.OPEN)
    assert darwin(monkeypatch, "requests", "grant", "package", "--use", "einops==99", "-C", folder) == 2
    assert "pip cannot resolve einops==99" in " ".join(capsys.readouterr().err.split())
    assert darwin(monkeypatch, "requests", "grant", "package", "--use", "einops==0.8.1", "-C", folder) == 0
    (request,) = open_workspace(folder).memory.requests.values()
    assert request.state is State.DONE and request.given == "einops==0.8.1"
    assert [line.split(":")[0] for line in request.ruling.lock] == ["einops==0.8.1 --hash=sha256"]

    evolution = a_generation(folder, data, 2, lambda jobs: laboratory.evaluate(jobs))
    users = [i for i in evolution.memory.individuals.values() if request.id in i.requests]
    assert users and all(i.generation == 2 for i in users)

    files = {name: (ANCESTOR / name).read_bytes() for name in ("genome.toml", "model.py", "train.py")}
    files["train.py"] = IMPORTS.encode() + files["train.py"]
    opened = open_workspace(folder)
    with confined(opened.config, folder, Screen().say) as confinement:
        real = begin(opened, Screen(), interactive=False, confinement=confinement)
        ((_, trial),) = real.evaluate([Job("x", files, 1, 1536, "1536tok")])
    assert (trial.status, trial.error) == (TrialStatus.OK, None)
    assert trial.packages is not None and len(trial.packages) == 16


def test_without_an_engine_a_package_cannot_be_granted_and_says_so(
    clean_environment, tmp_path, monkeypatch, capsys
):
    folder, data = tmp_path / "w", laboratory.data_set(tmp_path)
    a_generation(folder, data, 1, failing)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    assert darwin(monkeypatch, "requests", "grant", "package", "-C", folder) == 2
    assert "Packages are a layer of the containers' image:" in " ".join(capsys.readouterr().err.split())
    assert open_workspace(folder).memory.requests["package-einops"].state is State.OPEN
