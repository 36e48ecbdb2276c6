"""Everyday commands: compare, take home, watch, complete."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from darwin import answers, cli
from darwin.answers import Answer
from darwin.cli.review import settle
from darwin.gate import waiting
from darwin.memory.records import Choice
from darwin.memory.requests import Asking, Kind, Request
from darwin.screen import Screen
from darwin.workspace import open_workspace
from tests.people.terminal import Person


def darwin(monkeypatch, *arguments: str) -> int:
    """Run a command here; its exit code."""
    monkeypatch.setattr(sys, "argv", ["darwin", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_diff_shows_what_a_script_changes_against_main_or_another(finished, monkeypatch, capsys):
    champion = open_workspace(finished).memory.resolve("champion")
    assert darwin(monkeypatch, "diff", "champion", "-C", finished) == 0
    shown = capsys.readouterr().out
    assert f"From g000-base to {champion.id}" in shown and "======" in shown
    assert darwin(monkeypatch, "diff", "champion", "base", "-C", finished) == 0
    back = capsys.readouterr().out
    signs = [[line[6] for line in text.splitlines() if line[:5].strip().isdigit()] for text in (shown, back)]
    assert signs[0].count("+") == signs[1].count("-") > 0
    assert darwin(monkeypatch, "diff", "main", "-C", finished) == 0
    assert "They are equal." in capsys.readouterr().out
    assert darwin(monkeypatch, "diff", "champion", "--json", "-C", finished) == 0
    assert json.loads(capsys.readouterr().out)["files"].keys() <= {"train.py", "model.py"}
    assert darwin(monkeypatch, "diff", "nobody", "-C", finished) == 2


def test_an_exported_patch_turns_the_folder_one_began_with_into_the_script(
    finished, tmp_path, monkeypatch, capfdbinary
):
    opened = open_workspace(finished)
    champion, base = (opened.memory.resolve(name) for name in ("champion", "base"))
    for path, data in opened.lineage.files(base.commit).items():
        (tmp_path / path).write_bytes(data)
    subprocess.run("git init -q && git add . && git commit -qm mine", shell=True, cwd=tmp_path, check=True)
    assert darwin(monkeypatch, "export", "champion", "--patch", "-C", finished) == 0
    (tmp_path / "better.patch").write_bytes(capfdbinary.readouterr().out)
    subprocess.run(["git", "apply", "--index", "better.patch"], cwd=tmp_path, check=True)
    written = subprocess.run(["git", "write-tree"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert written.stdout.strip() == champion.tree


def test_an_exported_folder_holds_the_script_and_its_numbers(finished, tmp_path, monkeypatch, capsys):
    opened = open_workspace(finished)
    champion = opened.memory.resolve("champion")
    home = tmp_path / "home"
    assert darwin(monkeypatch, "export", "champion", home, "-C", finished) == 0
    files = opened.lineage.files(champion.commit)
    assert {p.name for p in home.iterdir()} == {*files, "DARWIN.md"}
    assert all((home / path).read_bytes() == data for path, data in files.items())
    told = (home / "DARWIN.md").read_text()
    assert f"{champion.trials[0].perplexity:.3f}" in told and champion.commit in told
    assert "python train.py --data_dir=../data" in told
    for wrong in (["champion", home], ["champion"], ["champion", tmp_path / "x", "--patch"]):
        assert darwin(monkeypatch, "export", *wrong, "-C", finished) == 2


def test_the_report_is_written_where_it_is_wanted(finished, tmp_path, monkeypatch, capsys):
    assert darwin(monkeypatch, "report", "-C", finished, "-o", tmp_path / "r.html") == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_a_shell_completes_commands_and_ids(finished):
    def completed(words: str) -> list[str]:
        count = len(words.split(" ")) - 1
        told = {"_DARWIN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        command = [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'darwin'; from darwin.cli import main; main()",
        ]
        env = {**os.environ, **told}
        return subprocess.run(
            command, cwd=finished, env=env, capture_output=True, text=True, check=False
        ).stdout.split()

    assert completed("darwin rev") == ["review", "revert"]
    assert set(completed("darwin show g001")) == {
        i for i in open_workspace(finished).memory.individuals if i[:4] == "g001"
    }


def test_status_watches_what_is_recorded_until_ctrl_c(folder):
    def program() -> None:
        sys.argv = ["darwin", "status", "--watch", "-C", str(folder)]
        cli.main()

    opened = open_workspace(folder)
    contender = waiting(opened.memory)[-1]
    person = Person(program, rows=50)
    person.sees("confirmed", f"{contender.id} waits for your decision")
    answers.post(
        folder,
        contender.id,
        Answer(choice=Choice.MERGE, by="Eve <e@x>", tree=contender.tree, main=opened.memory.run.main),
    )
    settle(folder, Screen())
    person.sees(f"main {contender.id}")
    assert "waits for your decision" not in person.text
    asking = Asking(agent="Ada", child=contender.id, ordinal=contender.ordinal, reason="tidier")
    wish = Request(id="file-optim.py", kind=Kind.FILE, wanted="optim.py", askings=(asking,))
    open_workspace(folder).memory.record(wish)  # no trial and no other step with it
    person.sees("1 request of agents waits: darwin requests")
    person.types("\x03")
    assert person.leaves() == 130
