"""The end of a run, as text on 80 columns: the numbers, what they come from, and three things to do next."""

from __future__ import annotations

import io
import math
import re
import shlex
from statistics import fmean

import pytest
from rich.console import Console

from darwin import answers, plan
from darwin.answers import Answer
from darwin.ending import next_commands, show_end
from darwin.gate import waiting
from darwin.loop import evolve
from darwin.memory.records import Choice, Outcome
from darwin.memory.requests import Asking, Kind, Request
from darwin.screen import Screen
from darwin.summary import failures, steps
from tests.command import darwin
from tests.evolve.laboratory import start


class Approving(Screen):
    """Approves the first better change during the run, as somebody at another terminal does."""

    def __init__(self, folder):
        super().__init__(Console(file=io.StringIO(), width=80))
        self.folder, self.evolution, self.approved = folder, None, None

    def verdict(self, contender):
        super().verdict(contender)
        if self.approved is None and contender.verdict.outcome is Outcome.BETTER:
            self.approved = contender.id
            run = self.evolution.run
            said = Answer(choice=Choice.MERGE, by="Eve <e@x>", tree=contender.tree, main=run.main)
            answers.post(self.folder, contender.id, said)


@pytest.fixture(scope="module")
def ended(tmp_path_factory, text):
    """A run in which main is neither the base nor the champion at the end."""
    folder = tmp_path_factory.mktemp("ended") / "my runs"
    screen = Approving(folder)
    evolution = screen.evolution = start(
        folder, text, screen, agents="rules:4", budget="20ktok", approve="defer"
    )
    evolve(evolution, 4)
    run = evolution.run
    assert len({evolution.base.id, run.incumbent, run.champion}) == 3, "another seed is needed"
    return evolution


def shown(evolution) -> str:
    """What the end of the run prints on a terminal of 80 columns."""
    evolution.screen = Screen(Console(file=io.StringIO(), width=80))
    show_end(evolution, evolution.run.comparison)
    return evolution.screen.console.file.getvalue()


def test_base_main_and_champion_are_compared_at_both_budgets(ended):
    run, people, text = ended.run, ended.memory.individuals, shown(ended)
    tables = re.split(r"^Test split, ", text, flags=re.MULTILINE)[1:]
    for row, table in zip(run.comparison.rows, tables, strict=True):
        assert table.startswith(f"{len(row.seeds)} fresh seeds, {row.budget} each:")
        for name, id in (("base", "g000-base"), ("main", run.incumbent), ("champion", run.champion)):
            losses = [
                t.loss
                for t in people[id].trials
                if t.split == "test" and t.seed in row.seeds and t.budget == row.budget
            ]
            assert len(losses) == len(row.seeds), (name, row.budget)
            number = f"{math.exp(fmean(losses)):.3f}"
            assert re.search(rf"^ ?{name} +{id} +{number} .*50\.0%", table, re.MULTILINE), (name, table)
    assert [row.budget for row in run.comparison.rows] == ["20ktok", "120ktok"]


def test_a_run_says_beforehand_what_comparing_main_as_well_costs(ended):
    plan.announce(ended, 5)
    assert "closing comparison, 9 trials: " in ended.screen.console.file.getvalue()


def test_ideas_failures_and_where_the_time_went_are_said(ended):
    text = shown(ended)
    made = steps(ended.memory)
    block = text.partition("What it is made of, by effect on the script it changed (one seed):\n")[2]
    rows = block.splitlines()[: len(made[:6])]
    assert [step.id in row for step, row in zip(made, rows, strict=False)] == [True] * len(rows)
    effects = [float(row.split()[0]) for row in rows if "%" in row]
    assert effects == sorted(effects) and effects[0] < 0
    why, count = failures(ended.memory)[0]
    flowing = " ".join(text.split())
    assert f"What came to nothing: {count} {why}" in flowing
    assert "planted" in why or "crashed in its train phase" in why
    assert re.search(r"CPU seconds in all: [\d,]+: .*children \d+%, verdicts \d+%, ", flowing)
    assert re.search(r"Time of all workers: [\d.]+ min: \w+ \d+%", flowing)


def test_it_fits_80_columns_and_ends_with_three_commands_that_can_be_given(ended, tmp_path):
    *lines, first, second, third = shown(ended).splitlines()
    assert max(map(len, lines)) <= 80 and lines[-1].startswith("best -")
    folder = str(ended.workspace.folder)
    where = f"-C {shlex.quote(folder)}"
    assert "'" in where, "a folder with a space is quoted"
    last = [
        ("To merge or reject it", f"darwin review {where}"),
        ("The whole story", f"darwin report {where}"),
        ("To go on", f"darwin evolve -g +5 {where}"),
    ]
    assert next_commands(ended.memory, ended.workspace.folder, ended.run.comparison) == last
    told = [re.split(": +", line, maxsplit=1) for line in (first, second, third)]
    assert told == [list(one) for one in last]
    done = darwin(*shlex.split(last[0][1])[1:], cwd=tmp_path)
    assert done.returncode == 0 and waiting(ended.memory)[-1].id in done.stdout


def test_what_is_most_urgent_comes_first_and_three_are_all(evolved):
    run, folder, memory = evolved.run, evolved.workspace.folder, evolved.memory
    named = [what for what, _ in next_commands(memory, folder, run.comparison)]
    assert named == ["What was changed", "The whole story", "To go on"]
    assert [what for what, _ in next_commands(memory, folder, None)] == [
        "The whole story",
        "To go on",
        "The family tree",
    ]
    asking = Asking(agent="Ada", child="g001-ada", ordinal=1, reason="x")
    wish = Request(id="file-optim.py", kind=Kind.FILE, wanted="optim.py", askings=(asking,))
    memory.requests["file-optim.py"] = wish
    try:
        asked = [what for what, _ in next_commands(memory, folder, run.comparison)]
    finally:
        del memory.requests["file-optim.py"]
    assert asked == ["What was changed", "What agents ask for", "The whole story"]
