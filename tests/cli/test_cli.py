"""The command line: what a user's mistake looks like, and what a script can rely on."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from darwin.begin import ANCESTOR
from darwin.loop import evolve
from darwin.workspace import locked
from tests.command import darwin
from tests.evolve.laboratory import data_set, start


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished evolution in it, and the cache its data are in."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARWIN_CACHE", str(folder / "cache"))
        evolution = start(folder / "evolution", data_set(folder), agents="rules:3", approve="defer")
        evolve(evolution, 2)
    return folder


def genome_with(folder: Path, train: str) -> Path:
    genome = folder / "genome"
    genome.mkdir()
    for name in ("genome.toml", "model.py"):
        (genome / name).write_bytes((ANCESTOR / name).read_bytes())
    (genome / "train.py").write_text(train)
    return genome


MISTAKES = {
    "unknown option": (["--nope"], "No such option: --nope"),
    "budget without unit": (["--budget", "20"], 'Budget "20" has no unit'),
    "budget that is none": (["--budget", "much"], 'Budget "much" cannot be read'),
    "population of one": (["--population", "1"], "at least 2 are needed"),
    "population against agents": (["--population", "3", "--agents", "rules:4"], "disagree"),
    "unknown agents": (["--agents", "wizards:3"], "the kinds are rules"),
    "unknown approval": (["--approve", "maybe"], "Known are: ask, auto, defer"),
    "unknown control": (["--control", "placebo"], "Known are: reseeded, own-code"),
    "unknown sandbox": (["--sandbox", "vm"], "Known are: auto, docker, process"),
    "unknown device": (["--device", "tpu"], "Known are: cpu, cuda"),
    "no workers": (["--workers", "0"], "at least 1 is needed"),
    "no patience": (["--patience", "0"], "at least 1 is needed"),
    "seed that is none": (["--seed", "x"], "Invalid value for '--seed'"),
    "generations that are none": (["-g", "many"], 'Generations "many" cannot be read'),
    "duration without unit": (["--for", "3"], "Write 90s, 30m or 2h"),
    "missing text": (["--text", "nowhere.txt"], "there is no such file or folder"),
    "empty text": (["--text", "empty.txt"], "is empty"),
    "short text": (["--text", "short.txt"], "at least 10,000 are needed"),
    "text that is not UTF-8": (["--text", "latin.txt"], "is not UTF-8: byte 3"),
    "data without bins": (["--data", "."], "there is no train.bin"),
    "text and data": (["--text", "short.txt", "--data", "."], "Give one of them"),
    "genome without contract": (["--text", "long.txt", "--genome", "."], "has no genome.toml"),
    "workspace that is something else": (["-C", "."], "is not a darwin workspace"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2_and_changes_nothing(mistake, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("to be or not to be")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9" * 5000)
    (tmp_path / "long.txt").write_text("to be or not to be\n" * 1000)
    before = sorted(tmp_path.iterdir())
    arguments, words = MISTAKES[mistake]
    done = darwin("evolve", *([] if "-C" in arguments else ["-C", "new"]), *arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_it_is_a_program(tmp_path):
    """What the other tests call in their own process."""
    for command in ([sys.executable, "-m", "darwin"], [Path(sys.executable).with_name("darwin")]):
        done = subprocess.run([*command, "evolve", "--nope"], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert "No such option: --nope" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_base_that_does_not_train_is_refused_with_its_last_lines(warm, tmp_path):
    (tmp_path / "long.txt").write_text("to be or not to be\n" * 1000)
    genome_with(tmp_path, "print('before')\nraise RuntimeError('my base is broken')\n")
    done = darwin("evolve", "--genome", "genome", "--text", "long.txt", "--sandbox", "process", cwd=tmp_path)

    assert done.returncode == 2
    assert "The base genome does not train" in done.stderr
    assert "RuntimeError: my base is broken" in done.stderr
    assert not (tmp_path / "evolution").exists()


def test_without_network_and_cache_the_user_is_told_of_text(tmp_path):
    nowhere = "http://127.0.0.1:9"
    done = darwin(
        "prepare", cwd=tmp_path, PIP_INDEX_URL=nowhere, PIP_EXTRA_INDEX_URL=nowhere, PIP_FIND_LINKS="",
        PIP_CONFIG_FILE=os.devnull, HTTPS_PROXY=nowhere, PIP_RETRIES="0",
    )  # fmt: skip
    assert done.returncode == 2
    assert "--text FILE_OR_DIR" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_workspace_in_use_is_named_with_its_process(finished):
    with locked(finished / "evolution"):
        done = darwin("evolve", cwd=finished)
    assert done.returncode == 2
    assert f"is in use by process {os.getpid()} since" in done.stderr


def test_a_setting_that_would_make_scripts_incomparable_is_refused(finished):
    done = darwin("evolve", "--budget", "1ktok", cwd=finished)
    assert done.returncode == 2
    assert "begun with budget = '20s'" in done.stderr


def test_status_has_what_scripts_rely_on(finished):
    found = json.loads(darwin("status", "--json", cwd=finished).stdout)
    assert found["generation"] == 2 and found["target"] is None
    assert found["base"] == found["incumbent"] == "g000-base"
    assert len(found["population"]) == 3
    assert sum(found["counts"].values()) == 7
    assert found["comparison"]["split"] == "test"
    assert set(found["comparison"]["rows"][0]) == {
        "budget", "seeds", "base_perplexity", "champion_perplexity", "change_percent", "interval_percent",
        "base_mfu", "champion_mfu",
    }  # fmt: skip
    assert found["cpu_seconds"] > 0


def test_lessons_name_their_trials_and_say_how_sure_they_are(finished):
    found = json.loads(darwin("lessons", "--json", cwd=finished).stdout)
    people = {p["id"]: p for p in json.loads(darwin("log", "--json", cwd=finished).stdout)}
    assert found
    for lesson in found:
        assert {*lesson["supporting"], *lesson["contradicting"]} <= people.keys()
        assert lesson["retired"] or lesson["effect"] is None or lesson["sd"] > 0
    shown = darwin("lessons", "--trials", cwd=finished, COLUMNS="120").stdout
    assert all(one["id"].rpartition(":")[2] in shown for one in found if not one["retired"])


def test_trials_are_a_table_for_other_programs(finished):
    rows = list(csv.DictReader(darwin("trials", "--csv", cwd=finished).stdout.splitlines()))
    people = json.loads(darwin("log", "--json", cwd=finished).stdout)
    assert len(rows) == sum(len(p["trials"]) for p in people)
    assert {r["id"] for r in rows} == {p["id"] for p in people if p["trials"]}
    assert float(rows[0]["loss"]) == people[0]["trials"][0]["loss"]
    assert len(json.loads(darwin("trials", "--json", cwd=finished).stdout)) == len(rows)


def test_runs_are_compared_by_cpu_seconds_and_closing(finished, tmp_path):
    found = json.loads(darwin("compare", "evolution", "evolution", "--json", cwd=finished).stdout)[
        "evolution"
    ]
    curve = [(p["cpu_seconds"], p["perplexity"]) for p in found["curve"]]
    assert curve == sorted(curve, key=lambda p: (p[0], -p[1])) and curve[0][0] == 0 and len(curve) == 7
    shown = darwin("compare", "evolution", "evolution", cwd=finished, COLUMNS="100").stdout
    assert "CPU seconds" in shown and "change at" in shown
    alone = darwin("compare", "evolution", cwd=finished)
    assert alone.returncode == 2 and "needs two workspaces or more" in alone.stderr
    missing = darwin("compare", "evolution", "nowhere", cwd=finished)
    assert missing.returncode == 2 and "There is no workspace at nowhere" in missing.stderr


def test_an_ablation_of_what_is_not_there_is_refused_before_anything_is_trained(finished):
    done = darwin("ablate", "base", cwd=finished)
    assert done.returncode == 2 and "g000-base has nothing to take out" in done.stderr
    trained = next(
        p for p in json.loads(darwin("log", "--json", cwd=finished).stdout)[1:] if p["status"] == "trained"
    )
    done = darwin("ablate", trained["id"], "--only", "wishful", cwd=finished)
    assert done.returncode == 2 and 'has no "wishful"; it has ' in done.stderr


def test_log_and_show_read_by_prefix_and_alias_from_anywhere_inside(finished):
    inside = finished / "evolution" / "memory"
    people = json.loads(darwin("log", "--json", cwd=inside).stdout)
    assert people[0]["id"] == "g000-base" and sum(p["author"] is not None for p in people) == 6
    child = json.loads(darwin("show", "g001-ada", "--json", cwd=inside).stdout)
    assert child["author"] == "Ada" != child["owner"]
    shown = darwin("show", "g001-ada", "--diff", cwd=inside).stdout
    assert child["owner"] in shown and "======" in shown
    assert len(darwin("log", "-n", "2", "--json", cwd=inside).stdout) > 0
    unknown = darwin("show", "zzz", cwd=inside)
    assert (unknown.returncode, unknown.stdout) == (2, "")


def test_review_lists_and_decides_without_a_terminal(finished, tmp_path):
    folder = tmp_path / "evolution"
    subprocess.run(["cp", "-r", str(finished / "evolution"), str(folder)], check=True)
    champion = json.loads(darwin("status", "--json", cwd=tmp_path).stdout)["champion"]
    assert champion in darwin("review", cwd=tmp_path).stdout

    done = darwin("review", "--merge", "champion", "--reason", "looks right", cwd=tmp_path)
    assert (done.returncode, done.stdout.split()[0]) == (0, champion)
    assert json.loads(darwin("status", "--json", cwd=tmp_path).stdout)["incumbent"] == champion
    decision = json.loads((folder / f"memory/decisions/{champion}.json").read_text())
    assert (decision["choice"], decision["by"], decision["reason"]) == (
        "merge",
        "Eve <eve@example.org>",
        "looks right",
    )
    assert "Nothing waits" in darwin("review", cwd=tmp_path).stdout
    assert darwin("review", "--reject", champion, cwd=tmp_path).returncode == 2


def test_init_makes_a_workspace_whose_settings_can_be_edited(warm, tmp_path):
    (tmp_path / "long.txt").write_text("to be or not to be\n" * 1000)
    done = darwin("init", "--text", "long.txt", "--agents", "rules:3", cwd=tmp_path)
    assert done.returncode == 0 and "darwin evolve" in done.stdout
    toml = tmp_path / "evolution/darwin.toml"
    assert 'agents = "rules:3"' in toml.read_text()
    assert json.loads(darwin("status", "--json", cwd=tmp_path).stdout)["generation"] == 0
    assert darwin("init", cwd=tmp_path).returncode == 2
    toml.write_text(toml.read_text().replace("batch = 2", 'bach = "two"'))
    done = darwin("status", cwd=tmp_path)
    assert done.returncode == 2 and 'unknown setting "evolution.bach"' in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        *(
            "evolve",
            "init",
            "prepare",
            "review",
            "revert",
            "status",
            "log",
            "show",
            "diff",
            "sample",
            "export",
        ),
        *("report", "tell", "audit", "calibrate"),
    ],
)
def test_help_is_a_manual_with_examples(command, tmp_path):
    done = darwin(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.count(f"darwin {command}") >= 3
