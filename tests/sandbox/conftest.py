"""The real provider ``process``, for trials of the tiny genome; and one server that many of them share."""

from __future__ import annotations

import pytest

from darwin.sandbox import ProcessSandbox
from tests import tiny
from tests.spare import SharedServer

data_folder, dataset, limits = tiny.data_folder, tiny.dataset, tiny.limits  # fixtures


@pytest.fixture(scope="session")
def sandbox():
    """The real provider: a server for each trial."""
    sandbox = ProcessSandbox()
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session")
def shared():
    """The real provider, but all trials share a server for as long as it lives."""
    sandbox = SharedServer(ProcessSandbox())
    yield sandbox
    sandbox.close()
