"""A model's run beside best-of-N proposals at equal dollars, and rules at equal CPU seconds; what it costs, live."""

from __future__ import annotations

import json
import sys

import pytest

from darwin.best_so_far import Axis, Point, at, axes, curve, marks
from darwin.cli import main
from darwin.loop import evolve
from darwin.progress import progress
from tests.evolve.laboratory import start
from tests.models.brain import Brain
from tests.models.scripted import ScriptedServer

AGENTS = '[[agent]]\nname = "Ada"\nmodel = "m"\n\n[[agent]]\nname = "Alan"\nmodel = "m"\n'
PRICES = '\n[prices]\n"m" = [1000.0, 5000.0]\n'


@pytest.fixture
def darwin(monkeypatch, capsys):
    """``darwin(...)``: what it prints."""
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["darwin", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    return call


@pytest.fixture
def agents(tmp_path):
    """``agents(text)``: a file of agents."""

    def write(text: str):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_a_models_run_stands_beside_proposals_by_dollars_and_beside_rules_by_cpu_seconds(
    models, agents, data, tmp_path, darwin, monkeypatch
):
    file = agents(AGENTS + PRICES)
    spent = {}
    with ScriptedServer(Brain()) as server:
        for folder, search in (("model", "ga"), ("proposals", "proposals")):
            control = "no-memory" if search == "proposals" else None
            with models(server, folder, file, search=search, control=control) as run:
                evolve(run.evolution, 3)
                spent[folder] = run.evolution.gateway.ledger.total().dollars
                children = [i for i in run.evolution.memory.individuals.values() if i.author]
    assert {i.parents for i in children} == {("g000-base",)}, "each proposal rewrites the base"
    rules = start(tmp_path / "rules", data, agents="rules:2", budget="20ktok")
    evolve(rules, 3)

    monkeypatch.chdir(tmp_path)
    places = ["model", "proposals", "rules"]
    found = json.loads(darwin("compare", *places, "--json"))
    for name in spent:
        assert found[name]["curve"][-1]["dollars"] == pytest.approx(spent[name]) and spent[name] > 0.5
    assert {p["dollars"] for p in found["rules"]["curve"]} == {0.0}
    by_cpu, _, by_dollars = darwin("compare", *places).partition("dollars of models")
    assert "CPU seconds" in by_cpu and all(place in by_cpu for place in places)
    assert by_dollars.splitlines()[0].split() == ["model", "proposals"], "rules cost no dollars"
    half = at(curve(rules.memory), 1.5)
    assert half is not None and f"{half.perplexity:.3f}" in by_cpu


def test_models_without_a_price_are_compared_by_tokens():
    unpriced = [Point(0, 9.0, "b"), Point(2, 8.0, "x", 300, None), Point(4, 7.0, "y", 700, None)]
    free = [Point(0, 9.0, "b"), Point(3, 8.5, "z", 500, 0.0)]
    rules = [Point(0, 9.0, "b"), Point(5, 8.0, "r")]
    assert axes([unpriced, free, rules]) == [Axis.CPU, Axis.TOKENS]
    assert axes([free]) == [Axis.CPU, Axis.TOKENS] and axes([rules]) == [Axis.CPU]
    assert marks([unpriced, free], Axis.TOKENS, 2) == [0, 350, 700]
    assert [p and p.perplexity for p in (at(unpriced, m, Axis.TOKENS) for m in (0, 350, 700))] == [
        9.0,
        8.0,
        7.0,
    ]
    assert at(free, 600, Axis.TOKENS) is None and at(unpriced, 1, Axis.DOLLARS) is None


def test_the_live_lines_and_status_say_what_models_cost_so_far_and_to_the_end(
    models, agents, tmp_path, darwin
):
    with ScriptedServer(Brain(99)) as server, models(server, agents_file=agents(AGENTS + PRICES)) as run:
        evolution, lines = run.evolution, []
        evolution.screen.generation = lambda *_: lines.append(progress(evolution, 4))
        assert not any("at this rate" in line for line in progress(evolution, 4))
        evolve(evolution, 2)
        memory, total = evolution.memory, evolution.gateway.ledger.total()
        memory.record(evolution.advanced(target=4))  # as a killed run leaves it
    line = next(line for line in lines[-1] if line.startswith("Models so far"))
    tokens = total.prompt_tokens + total.completion_tokens
    assert f"{total.calls} calls, {tokens:,} tokens, ${total.dollars:.2f}" in line
    assert f"at this rate {2 * tokens:,} tokens, ${2 * total.dollars:.2f} at the end" in line
    folder = ("-C", str(tmp_path / "w"))
    assert line in darwin("status", *folder)
    found = json.loads(darwin("status", "--json", *folder))["models"]
    assert found["spent"] == total.model_dump() and found["at_the_end"]["calls"] == 2 * total.calls
