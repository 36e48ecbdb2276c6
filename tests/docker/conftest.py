"""The tiny genome and its limits (tests/sandbox), in containers; trials that only want a server share one."""

from __future__ import annotations

import pytest

from darwin.sandbox import ProcessSandbox
from darwin.sandbox.trials import run_trial
from tests import tiny
from tests.engine import docker_sandbox, require_engine
from tests.spare import SharedServer

data_folder, dataset, limits = tiny.data_folder, tiny.dataset, tiny.limits  # fixtures


@pytest.fixture(scope="session")
def client():
    return require_engine()[0]


@pytest.fixture(scope="session")
def sandbox():
    """The real provider: a container for each trial."""
    sandbox = docker_sandbox()
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session")
def shared(limits):
    """The real provider, but all trials share a container for as long as its server lives."""
    sandbox = docker_sandbox()
    yield SharedServer(sandbox)
    sandbox.close()


@pytest.fixture(scope="session")
def neighbour(dataset, limits):
    """The loss of the untouched tiny genome under ``process``, which every neighbour has to have to the bit."""
    sandbox = ProcessSandbox()
    yield run_trial(tiny.job(), dataset, sandbox, 1e11, limits).loss
    sandbox.close()
