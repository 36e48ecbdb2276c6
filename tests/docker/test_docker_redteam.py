"""The red team in containers: every cheat is caught or costs only itself, honest oddities pass."""

from __future__ import annotations

import pytest

from darwin.memory.records import TrialStatus
from tests.redteam.arena import Arena
from tests.redteam.cheats import CHEATS
from tests.redteam.honest import HONEST


@pytest.fixture(scope="module")
def arena(shared, tmp_path_factory):
    return Arena(shared, tmp_path_factory.mktemp("arena"))


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_caught_or_costs_only_itself(arena, name):
    assert arena.caught(CHEATS[name]) is not None


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_oddity_passes(arena, name):
    trial = arena.run(HONEST[name], probes=4)[0]
    assert (trial.status, trial.error) == (TrialStatus.OK, None)
