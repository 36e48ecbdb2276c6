"""A run of agents that ask a scripted model, over the laboratory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from darwin.agents.upstream import Upstream
from darwin.config import Config
from darwin.confinement import plain
from darwin.evolution import Evolution
from darwin.models import gateway_for
from darwin.screen import Screen
from tests.evolve.laboratory import data_set, start
from tests.models.scripted import KEY, ScriptedServer


@pytest.fixture
def data(clean_environment: Path, tmp_path: Path) -> Path:
    return data_set(tmp_path)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody sleeps: what would have been waited is written down. An answer may take half a second."""
    waited: list[float] = []
    original = Upstream.__init__

    def quick(self, endpoint, wait=waited.append, say=lambda line: None, answer_seconds=0.5, patience=240.0):
        original(self, endpoint, wait, say, answer_seconds, patience)

    monkeypatch.setattr(Upstream, "__init__", quick)
    return waited


class Run:
    """An evolution with its gateway, and what it said."""

    def __init__(self, evolution: Evolution, words: io.StringIO) -> None:
        self.evolution, self._words = evolution, words

    @property
    def said(self) -> str:
        return self._words.getvalue()


@pytest.fixture
def models(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> Callable[..., contextlib.AbstractContextManager[Run]]:
    """``with models(server, agents=...) as run``: the same folder again goes on with the same run."""

    @contextlib.contextmanager
    def opened(
        server: ScriptedServer | None,
        folder: str = "w",
        agents_file: Path | None = None,
        replay: Path | None = None,
        **settings,
    ) -> Iterator[Run]:
        if server is not None:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
        words = io.StringIO()
        screen = Screen(Console(file=words, width=200))
        place = tmp_path / folder
        if agents_file is not None:
            settings["agents"] = "agents.toml"
        options = {"model": "m", "budget": "20ktok", **settings}
        place.mkdir(exist_ok=True) if agents_file else None
        if agents_file is not None and not (place / "agents.toml").exists():
            (place / "agents.toml").write_bytes(agents_file.read_bytes())
        config = Config(data=str(data), **options)
        with gateway_for(config, place, screen.say, replay) as gateway:
            if agents_file is not None and not (place / "darwin.toml").exists():
                (place / "agents.toml").unlink()
                place.rmdir()
            wiring = {"gateway": gateway, "confinement": plain(gateway)}
            yield Run(start(place, data, screen, wiring, agents_file, **options), words)

    return opened
