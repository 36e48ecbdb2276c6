"""The red team under ``process``: cheats that abuse the protocol are caught, honest oddities pass.

What ``process`` does not stop is named in docs/security.md; in containers everything is (tests/docker). Without
``--exhaustive`` each way to be caught is shown by one cheat.
"""

from __future__ import annotations

import pytest

from darwin.memory.records import TrialStatus
from tests.exhaustive import few
from tests.redteam.arena import Arena
from tests.redteam.cheats import CHEATS
from tests.redteam.honest import HONEST

CAUGHT = (
    *("peek-at-one-place", "validation-as-text", "the-same-in-new-clothes", "validation-in-pieces"),
    *("fail-when-unlucky", "train-while-smoked", "patch-the-judge", "stop-the-clocks"),
)
PASSED = (
    *("batch norm that keeps running statistics", "no module at all, numpy alone"),
    "sorts the windows of a batch and sorts them back",
)


@pytest.fixture(scope="session")
def arena(shared, tmp_path_factory):
    return Arena(shared, tmp_path_factory.mktemp("arena"))


@pytest.mark.parametrize("name", few((name for name, cheat in CHEATS.items() if cheat.process), *CAUGHT))
def test_a_cheat_is_caught(arena, name):
    assert arena.caught(CHEATS[name]) is not None


@pytest.mark.parametrize("name", few(HONEST, *PASSED))
def test_an_honest_oddity_passes(arena, name):
    trial = arena.run(HONEST[name], probes=4)[0]
    assert (trial.status, trial.error) == (TrialStatus.OK, None)
    assert trial.loss is not None and trial.loss < 3.1


def test_the_battery_is_as_large_as_promised():
    assert len(CHEATS) >= 30
    assert len(HONEST) >= 15
    assert all(cheat.tries and "\n" not in cheat.tries for cheat in CHEATS.values())
