"""The command line around models: mistakes in one sentence with nothing spent, dry runs, costs, transcripts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from darwin.cli import main
from darwin.loop import evolve
from darwin.repairs import in_words, shares
from tests.models.brain import Brain
from tests.models.scripted import KEY, Raw, ScriptedServer


@pytest.fixture
def darwin(monkeypatch, capsys, tmp_path, clean_environment):
    """``darwin(...)``: exit code and all that was printed, run in a folder with a text to train on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 900)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["darwin", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return call


START = ("evolve", "--text", "text.txt", "--sandbox", "process", "--budget", "2ktok")

MISTAKES = {
    "no model": (("--agents", "openai"), "Give --model NAME"),
    "no key": (("--agents", "openai:2", "--model", "m"), "neither a key nor an address"),
    "unknown style": (
        ("--agents", "openai:2", "--model", "m", "--style", "ode"),
        "Known are: diff, file, chunks, settings",
    ),
    "a limit of nothing": (("--agents", "openai:2", "--model", "m", "--max-cost", "0"), "a sum above 0"),
    "no such file": (("--agents", "mine.toml"), "There is no file mine.toml"),
    "no such hint": (("--hint", "advice.md"), "There is no file advice.md"),
    "replay without a model": (("--replay", "."), "there are none"),
    "one agent": (("--agents", "openai:1", "--model", "m"), "at least 2 are needed"),
    "a dry run without a model": (("--dry-run",), "no agent asks one"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(darwin, tmp_path, kind):
    arguments, words = MISTAKES[kind]
    code, said = darwin(*START, *arguments)
    assert (code, words in said, "Traceback" in said) == (2, True, False), said
    assert not (tmp_path / "evolution").exists()


@pytest.mark.parametrize(
    ("models", "key", "words"),
    [
        (("m",), "sk-other", "does not accept the key"),
        (Raw(200, "<html>"), None, "does not speak the OpenAI API"),
    ],
)
def test_an_endpoint_that_will_not_do_is_named_before_anything_is_spent(
    darwin, monkeypatch, tmp_path, models, key, words
):
    with ScriptedServer(Brain(), models=models, key=key) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        code, said = darwin(*START, "--agents", "openai:2", "--model", "m")
        assert (code, words in said, KEY in said) == (2, True, False), said
        assert server.requests == [] and not (tmp_path / "evolution").exists()


def test_a_bad_agents_toml_names_its_line(darwin, tmp_path):
    (tmp_path / "mine.toml").write_text('[[agent]]\nmodel = "m"\n[[agent]]\nmodle = "m"\n')
    code, said = darwin(*START, "--agents", "mine.toml")
    assert code == 2 and 'mine.toml, line 4: "modle" is unknown' in said


def test_a_dry_run_prints_the_prompt_and_an_estimate_and_asks_nobody(darwin, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    (tmp_path / "advice.md").write_text("Mind the warm-up.\n")
    code, said = darwin(
        *START, "--agents", "openai:2", "--model", "m", "--dry-run", "--hint", "advice.md", "-g", "3"
    )
    assert (
        code == 0
        and said.count("class Attention") == 2 == said.count("Mind the warm-up.")
        and KEY not in said
    )
    for name, mood in (("Ada", "optimizer"), ("Alan", "attention")):
        assert f"--- {name} (m): system ---" in said and f"You are {name}, one of" in said and mood in said
    assert "6 children by 2 agents" in said and "15 calls" in said and "Nothing was asked" in said
    assert not (tmp_path / "evolution").exists()


def test_agents_are_written_listed_and_tried(darwin, monkeypatch, tmp_path):
    assert darwin("agents", "init")[0] == 0
    assert darwin("agents", "init")[0] == 2
    path = tmp_path / "agents.toml"
    path.write_text(path.read_text().replace("gpt-5-mini", "m"))
    assert darwin("init", "--text", "text.txt", "--agents", "agents.toml")[0] == 0
    listed = json.loads(darwin("agents", "list", "--json")[1])
    assert [(a["name"], a["kind"], a["model"]) for a in listed] == [
        ("Ada", "openai", "m"), ("Alan", "rules", None), ("Barbara", "rules", None),
    ]  # fmt: skip
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedServer(Brain(), key=KEY) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, said = darwin("agents", "test")
        assert code == 0 and "it lists the model" in said and server.requests == []
        server.models = ("another",)
        code, said = darwin("agents", "test", "--json")
        assert code == 1 and "another" in json.loads(said)[0]["says"]
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
        code, said = darwin("agents", "test")
        assert code == 1 and "does not accept the key" in said and "sk-wrong" not in said


def test_agents_init_makes_an_unbegun_workspace_use_the_file(darwin, tmp_path):
    assert darwin("init", "--text", "text.txt")[0] == 0
    assert darwin("agents", "init")[0] == 0
    assert 'agents = "agents.toml"' in (tmp_path / "evolution/darwin.toml").read_text()
    assert [a["kind"] for a in json.loads(darwin("agents", "list", "--json")[1])] == [
        "openai",
        "rules",
        "rules",
    ]


def test_a_finished_run_shows_its_costs_repairs_and_transcripts(darwin, models, tmp_path):
    with ScriptedServer(Brain(1)) as server, models(server, agents="openai:2") as run:
        evolve(run.evolution, 2)
        people = run.evolution.memory.individuals
    folder = ("-C", str(tmp_path / "w"))
    found = json.loads(darwin("cost", "--json", *folder)[1])
    assert found["total"]["calls"] == len(server.requests)
    assert sum(u["calls"] for u in found["by_role"].values()) == found["total"]["calls"]
    assert set(found["by_agent"]) == {"Ada", "Alan"} and set(found["by_generation"]) == {"1", "2"}
    code, said = darwin("cost", *folder)
    assert code == 0 and "researcher" in said
    repaired = next(i for i in people.values() if i.repairs and i.delta)
    code, said = darwin("show", repaired.id, "--transcript", *folder)
    assert code == 0
    for words in (
        "Model:",
        "Repairs:",
        "planted_failure",
        "Cost:",
        "Expected:",
        "measured",
        "as researcher",
        "as engineer",
    ):
        assert words in said, words
    assert f"{in_words(shares(people.values()))}." in darwin("status", *folder)[1]
    status = json.loads(darwin("status", "--json", *folder)[1])
    assert status["models"]["written"] == 4 and status["models"]["failing"] >= 1
    code, said = darwin("evolve", "--dry-run", "--agents", "openai:2", *folder)
    assert code == 0 and said.count(": Lessons of analysts]") == 2, said
    assert "--- Ada (m): user ---" in said and "--- Alan (m): user ---" in said
    assert Path(tmp_path / "w/artifacts/transcripts").is_dir()
