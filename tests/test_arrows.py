"""The arrows between the rooms point one way, and what runs in a container is on its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("agents", "sandbox", "memory", "nanogpt_base")
MAY_IMPORT = {
    "darwin": {"darwin", "agents", "sandbox", "memory"},
    "agents": {"agents", "memory"},
    "sandbox": {"sandbox", "memory"},
    "memory": {"memory"},
    "nanogpt_base": set(),
}


def files_of(room: str) -> list[Path]:
    if room == "darwin":
        return [
            p for p in (ROOT / "darwin").rglob("*.py") if p.relative_to(ROOT / "darwin").parts[0] not in ROOMS
        ]
    return list((ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Our rooms that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 or "inside" in path.parts, f"{path} imports relatively"
            if node.level:
                continue
            names = [f"{node.module}.{a.name}" for a in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] in ROOMS:
                pytest.fail(f"{path} imports {name} without the namespace")
            if parts[0] == "darwin":
                found.add(parts[1] if len(parts) > 1 and parts[1] in ROOMS else "darwin")
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    assert files_of(room)
    for path in files_of(room):
        own = room if "inside" not in path.parts else None
        assert imports(path) <= (MAY_IMPORT[room] if own else set()), path


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_linked_into_the_namespace(room):
    link = ROOT / "darwin" / room
    assert link.is_symlink() and link.readlink() == Path("..") / room


@pytest.mark.parametrize("room", ["darwin", "agents", "sandbox", "memory"])
def test_a_room_says_what_it_is_for_and_where_to_start(room):
    text = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
    assert text and "May touch:" in text and "Start reading at" in text
