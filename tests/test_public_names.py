"""Each room's door is a short list, compared by equality."""

import importlib

import pytest

DOORS = {
    "agents": {"Agent", "Proposal", "Refused", "Task", "fingerprint", "program", "rewrite", "roster"},
    "sandbox": {
        "Contract", "Dataset", "Job", "Limits", "ProcessSandbox", "SandboxError", "calibrate", "evaluate",
    },
    "memory": {"Memory", "MemoryFault", "UnknownName"},
}  # fmt: skip


@pytest.mark.parametrize("room", DOORS)
def test_a_room_exports_exactly_its_door(room):
    module = importlib.import_module(f"darwin.{room}")
    assert set(module.__all__) == DOORS[room]
    assert len(module.__all__) <= 8
