"""How ``darwin evolve`` ends where models are asked: at a limit, with a key that is refused, in a replay."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from darwin.begin import begin
from tests.command import darwin
from tests.evolve import laboratory
from tests.models.brain import Brain
from tests.models.scripted import KEY, ScriptedServer, completion

AGENTS = "".join(
    f'[[agent]]\nname = "{name}"\nmodel = "m"\nanswer_tokens = 500\n\n' for name in ("Ada", "Alan")
)
PRICES = '[prices]\n"m" = [1.0, 1.0]\n'


def dear(body):
    """A brain whose every answer costs $0.0016."""
    return completion(Brain(3)(body), prompt=1500, answer=100)


@pytest.fixture
def evolve(data, tmp_path, monkeypatch, waits):
    """``evolve(generations, *options)``: the command over the laboratory, as its process would have left it."""

    def over_the_laboratory(*arguments, **more):
        stand_ins = {
            "evaluate": laboratory.evaluate,
            "smoke": laboratory.smoke,
            "calibrate": lambda *_, **__: 1e11,
        }
        return begin(*arguments, **{**more, **stand_ins})

    monkeypatch.setattr("darwin.begin.begin", over_the_laboratory)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "mine.toml").write_text(AGENTS + PRICES)

    def run(generations: int, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return darwin(
            "evolve", "-g", str(generations), "--agents", "mine.toml", "--data", str(data), "--budget", "20ktok",
            "--sandbox", "process", "--approve", "auto", "--workers", "1", *options, cwd=tmp_path, **environment,
        )  # fmt: skip

    return run


def at(server: ScriptedServer) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}


def trees(folder: Path) -> str:
    """The name and the tree of every individual."""
    form = "--format=%(refname) %(tree)"
    listed = subprocess.run(
        ["git", "for-each-ref", form, "refs/darwin/individuals"], cwd=folder, capture_output=True, text=True
    )
    return listed.stdout


def test_a_limit_in_dollars_ends_the_generation_cleanly_and_says_what_was_achieved(evolve, tmp_path):
    with ScriptedServer(dear) as server:
        ended = evolve(9, "--max-cost", "0.022", **at(server))
        assert ended.returncode == 0 and "Traceback" not in ended.stdout + ended.stderr
        assert "Stopping here: the limit of $0.022 would be passed by the next call" in ended.stdout
        status = json.loads(darwin("status", "--json", "-C", "evolution", cwd=tmp_path).stdout)
        done = status["generation"]
        assert 1 <= done < 9 and f"\n{done} of 9 generations are complete.\n" in ended.stdout
        for words in ("Test split", "best -", "Models in all: ", "The whole story:"):
            assert words in ended.stdout
        spent = json.loads(darwin("cost", "--json", "-C", "evolution", cwd=tmp_path).stdout)
        assert spent["limit_dollars"] == 0.022 and spent["total"]["calls"] == len(server.requests)
        assert 0.005 < spent["total"]["dollars"] <= 0.022
        assert sum(status["counts"].values()) == 1 + 2 * done, "each birth is on record"
        more = evolve(done + 1, "--max-cost", "1", **at(server))
        assert more.returncode == 0 and "Stopping here" not in more.stdout


def test_a_key_that_is_refused_in_the_middle_is_one_sentence_and_exit_2(evolve, tmp_path):
    with ScriptedServer(lambda body: dear(body)) as server:

        def until_the_sixth(body):
            server.key = "sk-another" if len(server.requests) >= 5 else None
            return dear(body)

        server.script = until_the_sixth
        ended = evolve(9, **at(server))
        assert ended.returncode == 2 and KEY not in ended.stdout + ended.stderr
        (sentence,) = ended.stderr.splitlines()
        assert sentence.startswith("darwin: 127.0.0.1:") and "does not accept the key (401" in sentence
        assert sentence.endswith("Check OPENAI_API_KEY.")
        assert "1 of 9 generations are complete and all that was measured is kept." in ended.stdout
        before = trees(tmp_path / "evolution")
        server.key, server.script = None, dear
        assert evolve(2, **at(server)).returncode == 0
        assert set(before.splitlines()) <= set(trees(tmp_path / "evolution").splitlines())


def test_a_replay_needs_neither_key_nor_server_and_gives_the_same_trees(evolve, tmp_path):
    with ScriptedServer(dear) as server:
        assert evolve(2, "-C", "first", **at(server)).returncode == 0
        asked = len(server.requests)
    replay = evolve(2, "-C", "second", "--max-cost", "1", "--replay", "first/artifacts/transcripts")
    assert replay.returncode == 0, replay.stdout + replay.stderr
    assert len(server.requests) == asked
    assert (
        trees(tmp_path / "second") == trees(tmp_path / "first") and trees(tmp_path / "first").count("\n") == 5
    )
    assert "Models in all: 0 calls" in replay.stdout
    shown = darwin("show", "g001-ada-1", "--transcript", "-C", "second", cwd=tmp_path).stdout
    assert "as researcher, m, 1,500 + 100 tokens, replayed" in shown


def test_a_key_that_is_missing_is_named_with_the_line_of_the_file_that_was_given(evolve, tmp_path):
    (tmp_path / "mine.toml").write_text(AGENTS.replace("answer_tokens = 500", 'key = "MY_KEY"'))
    ended = evolve(1)
    assert ended.returncode == 2 and not (tmp_path / "evolution").exists()
    assert ended.stderr.startswith("darwin: mine.toml, line 4: Ada's key should be in MY_KEY"), ended.stderr
