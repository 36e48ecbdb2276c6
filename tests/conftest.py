"""A clean environment: no caller's settings, a cache and a git identity of the tests' own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests import engine

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


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


@pytest.fixture(scope="session", autouse=True)
def close_engine():
    yield
    engine.close()
