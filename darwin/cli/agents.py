"""``darwin agents``: who the agents are, and whether their models answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from darwin.agents.errors import AgentError
from darwin.agents.members import FILE, TEMPLATE, Members, read
from darwin.agents.sections import calibration_in_words
from darwin.agents.upstream import Endpoint, Upstream
from darwin.cli import options
from darwin.config import load, save
from darwin.errors import UsageError
from darwin.memory.records import AgentCard, Calibration
from darwin.models import members_of, seats
from darwin.screen import Screen, safe
from darwin.spending import dollars
from darwin.tables import plain_table
from darwin.workspace import CONFIG, is_workspace, locate, open_workspace

app = typer.Typer(help="Who the agents are, and whether their models answer.", no_args_is_help=True)


@app.command()
def init(workspace: options.Workspace = None) -> None:
    """Write an agents.toml to edit: into the workspace, or right here where there is none yet.

    \b
    Examples:
      darwin agents init
      darwin agents init -C night
    """
    folder = locate(workspace)
    there = is_workspace(folder)
    path = folder / FILE if there else Path(FILE)
    if path.exists():
        raise UsageError(f"{path} is there already. Edit it, or remove it first.")
    if there:
        if open_workspace(folder).memory.begun:
            raise UsageError(f"{folder} was begun with other agents. Choose another --workspace for these.")
        config = load(folder / CONFIG)
        save(replace(config, agents=FILE), folder / CONFIG)
    path.write_text(TEMPLATE, encoding="utf-8")
    command = f"darwin evolve -C {folder}" if there else f"darwin evolve --agents {path}"
    Screen().say(f"Wrote {path}. Edit it, then:  {command}")


@app.command("list")
def list_(workspace: options.Workspace = None, json: options.Json = False) -> None:
    """List the agents: kind, model, edit style, what they have cost, how good their expectations are.

    \b
    Examples:
      darwin agents list
      darwin agents list --json
    """
    folder = locate(workspace)
    opened = open_workspace(folder)
    found, memory = members_of(opened.config, folder), opened.memory
    rows: list[dict[str, Any]] = []
    for m in found.members:
        card = AgentCard(name=m.name, kind=m.kind, temperament=m.temperament)
        own = memory.agent(card)
        costs = [i.usage.dollars for i in memory.individuals.values() if i.author == m.name and i.usage]
        known = [cost for cost in costs if cost is not None]
        rows.append({
            "name": m.name, "kind": m.kind, "temperament": m.temperament, "model": m.model or None,
            "style": m.style if m.model else None, "children": len(own.attempts),
            "dollars": sum(known) if len(known) == len(costs) else None,
            "calibration": own.calibration.model_dump() if own.calibration else None,
        })  # fmt: skip
    if json:
        options.print_json(rows)
        return
    screen = Screen()
    table = plain_table("agent", "kind", "model", "style", "children", "cost", "expectations")
    for row in rows:
        table.add_row(
            row["name"], row["kind"], safe(row["model"] or ""), row["style"] or "", str(row["children"]),
            dollars(row["dollars"]) if row["model"] else "", _expectations(row["calibration"]),
        )  # fmt: skip
    screen.console.print(table)


def _expectations(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return calibration_in_words(Calibration(**found)).removeprefix("Your ").rstrip(".")


@app.command()
def test(
    workspace: options.Workspace = None,
    agents: options.AgentsFile = None,
    json: options.Json = False,
) -> int:
    """Try each agent's endpoint without spending anything: does it answer, take the key, know the model?

    \b
    Examples:
      darwin agents test
      darwin agents test --agents agents.toml
    """
    found = _members(workspace, agents)
    rows: list[dict[str, Any]] = []
    tried: dict[Endpoint, tuple[str, ...] | str] = {}
    for seat in seats(found):
        if seat.endpoint not in tried:
            tried[seat.endpoint] = _models(seat.endpoint)
        offered = tried[seat.endpoint]
        if isinstance(offered, str):
            ok, words = False, offered
        elif offered and seat.model not in offered:
            ok, words = False, f'it does not list the model "{seat.model}"; it lists {", ".join(offered[:8])}'
        else:
            ok, words = True, "it lists the model" if offered else "it answers; it keeps no list of models"
        priced = None if seat.price is None else [seat.price.prompt, seat.price.completion]
        rows.append({"agent": seat.agent, "model": seat.model, "endpoint": seat.endpoint.host, "works": ok,
                     "says": words, "dollars_per_million": priced})  # fmt: skip
    if json:
        options.print_json(rows)
    else:
        screen = Screen()
        for row in rows:
            style = "" if row["works"] else "bold red"
            screen.say(
                f"{row['agent']}: {row['model']} at {row['endpoint']}: {safe(row['says'], 400)}", style
            )
        if not rows:
            screen.say("No agent asks a model.")
    return int(not all(row["works"] for row in rows))


def _models(endpoint: Endpoint) -> tuple[str, ...] | str:
    """What an endpoint lists, or why it does not."""
    upstream = Upstream(endpoint)
    try:
        return upstream.models()
    except AgentError as error:
        return str(error)
    finally:
        upstream.close()


def _members(workspace: Path | None, agents: Path | None) -> Members:
    """Those of a file, of the workspace, or of ./agents.toml."""
    if agents is not None:
        return read(agents)
    folder = locate(workspace)
    if is_workspace(folder):
        return members_of(load(folder / CONFIG), folder)
    if Path(FILE).is_file():
        return read(Path(FILE))
    raise UsageError(
        f"There is neither a workspace at {folder} nor an {FILE} here. Write one: darwin agents init"
    )
