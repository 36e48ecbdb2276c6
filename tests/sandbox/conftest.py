"""The real provider ``process``, for trials of the tiny genome; ``shared`` servers are those of all tests."""

from __future__ import annotations

import pytest

from darwin.sandbox import ProcessSandbox
from tests import tiny

data_folder, dataset, limits = tiny.data_folder, tiny.dataset, tiny.limits  # fixtures


@pytest.fixture(scope="session")
def sandbox():
    """The real provider: a server for each trial."""
    sandbox = ProcessSandbox()
    yield sandbox
    sandbox.close()
