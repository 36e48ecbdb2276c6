"""A clean environment for every test, and which tests run: ``--exhaustive`` runs those too that only .ci/run does.

What is marked ``exhaustive`` repeats, over all cases, what an unmarked test shows of a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from darwin.sandbox import ProcessSandbox
from tests import engine
from tests.spare import Lent, SharedServer

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

DEAR_FIRST = (
    "docker/test_docker_evolve.py",
    "evolve/test_real.py",
    "docker/test_docker_models.py",
    "docker/test_docker_redteam.py",
    "docker/test_docker_battery.py",
    "docker/test_docker_killed.py",
    "redteam/test_redteam.py",
    "evolve/test_soak.py",
    "sandbox/test_trials.py",
    "sandbox/test_battery.py",
    "contracts/test_sandbox.py",
    "agents/test_techniques.py",
    "evolve/test_resume.py",
    "evolve/test_damage.py",
    "people/test_terminal.py",
    "people/test_own_script.py",
    "nanogpt_base/test_base.py",
)
"""The files that take longest, begun first, so that no process is left alone with one at the end."""

_LEFT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="run what is marked exhaustive too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(DEAR_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    if not config.getoption("exhaustive"):
        every = len(items)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]
        config.stash[_LEFT] = every - len(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of xdist's: it tells the one that prints
        session.config.workeroutput["left"] = session.config.stash.get(_LEFT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_LEFT] = getattr(node, "workeroutput", {"left": 0})["left"]  # each collects all


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if left := config.stash.get(_LEFT, 0):
        terminalreporter.write_line(f"{left} more run with --exhaustive, as in .ci/run.")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for name in ("DARWIN_WORKSPACE", "OPENAI_API_KEY", "OPENAI_BASE_URL", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (home / ".gitconfig").write_text("[user]\n\tname = Eve\n\temail = eve@example.org\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("DARWIN_CACHE", str(home / "cache"))
    return home


@pytest.fixture(scope="session")
def sandbox() -> Iterator[ProcessSandbox]:
    """The real provider ``process``: a server for each trial."""
    sandbox = ProcessSandbox()
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session")
def shared(sandbox: ProcessSandbox) -> SharedServer:
    """The same, but all trials share a server for as long as it lives."""
    return SharedServer(sandbox)


@pytest.fixture
def warm(sandbox: ProcessSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run trials as processes use ``sandbox``, which has torch already."""
    monkeypatch.setattr("darwin.confinement.ProcessSandbox", lambda: Lent(sandbox))


@pytest.fixture(scope="session", autouse=True)
def no_power_cuts() -> Iterator[None]:
    """Tests kill processes, never the machine: what was written stays without waiting for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def close_engine():
    yield
    engine.close()
