"""``darwin evolve``."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from darwin import answers
from darwin import begin as beginning
from darwin.agents.errors import AgentError
from darwin.agents.members import FILE as AGENTS
from darwin.agents.members import KINDS
from darwin.bell import Bell
from darwin.cli import options
from darwin.cli.review import settle
from darwin.config import Config, check, override, parse_duration, parse_generations
from darwin.confinement import confined
from darwin.ending import show_end
from darwin.errors import UsageError
from darwin.evolution import Evolution
from darwin.gate import unjudged
from darwin.headline import headline
from darwin.loop import evolve as run_loop
from darwin.memory.requests import Kind, pending
from darwin.models import HINT, gateway_for
from darwin.notify import END, FAILURE, Notifier
from darwin.preview import preview
from darwin.progress import progress
from darwin.rescue import rescue
from darwin.sandbox import SandboxError
from darwin.screen import Screen, counted
from darwin.strategy import CONTROLS
from darwin.workspace import Workspace, is_workspace, locate, locked, open_workspace

DEFAULTS = Config()


def evolve(
    generations: Annotated[
        str,
        typer.Option(
            "--generations", "-g", help="Total generations of the workspace; +N adds N to those done"
        ),
    ] = "5",
    population: Annotated[
        int | None,
        typer.Option(help="Agents, each owning one script, at least 2  [default: 6]", show_default=False),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(help=f"Kinds of agents and how many  [default: {DEFAULTS.agents}]", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model that agents of kind openai ask, at OPENAI_BASE_URL", show_default=False),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help="How they write edits: diff, file, chunks, or settings (for small models)  [default: diff]",
            show_default=False,
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(help="Stop when models have cost so many dollars in all", show_default=False),
    ] = None,
    hint: Annotated[
        Path | None,
        typer.Option(help="Text file of advice that every such agent reads", show_default=False),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Answer from another run's artifacts/transcripts in place of a model", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the first prompt and an estimate; spend nothing")
    ] = False,
    workspace: options.Workspace = None,
    genome: options.Genome = None,
    text: options.Text = None,
    data: options.Data = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help=f"Training of every trial: 20s, 200ktok or 1TFLOP  [default: {DEFAULTS.budget}]",
            show_default=False,
        ),
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", help="Begin no further generation after this time: 90s, 30m or 2h", show_default=False
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after N generations without a better script", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help=f"Everything random follows from it  [default: {DEFAULTS.seed}]", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Trials at a time, one CPU thread each; results do not depend on it  [default: all cores]",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda  [default: cpu]", show_default=False)
    ] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(
            help="What confines agents and trials: auto (docker where an engine answers), docker or process  "
            "[default: auto]",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="The engine's runtime for containers, such as runsc (gVisor)", show_default=False),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(help="Ids of GPUs for containers, one a trial: 0,1", show_default=False),
    ] = None,
    approve: Annotated[
        str | None,
        typer.Option(
            help="Who decides on a merge: ask, auto, defer, or policy (darwin.toml, [gate])  [default: ask]",
            show_default=False,
        ),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            help="Command to run on a waiting decision, the end, a failure; told by DARWIN_EVENT and DARWIN_TEXT",
            show_default=False,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help="How parents are chosen and who survives: ga, greedy, random, or proposals (N rewrites of the base)  "
            "[default: ga]",
            show_default=False,
        ),
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="Train anew what this run compares, though its trials are known; those are kept"
        ),
    ] = False,
    control: Annotated[
        str | None,
        typer.Option(help=f"Control experiment, to compare with: {', '.join(CONTROLS)}", show_default=False),
    ] = None,
) -> None:
    """Let agents rewrite one another's training scripts; keep what is better.

    The same command again goes on where a run was stopped or killed.

    \b
    Examples:
      darwin evolve --generations 5
      darwin evolve --generations +5 --text my_corpus.txt --approve auto
      darwin evolve --agents rules:4,openai:2 --model gpt-5-mini --max-cost 5
    """
    given = {
        "agents": agents_wanted(agents, population),
        "model": model,
        "style": style,
        "max_cost": max_cost,
        "budget": budget,
        "patience": patience,
        "seed": seed,
        "workers": workers,
        "device": device,
        "sandbox": sandbox,
        "runtime": runtime,
        "gpus": gpus,
        "approve": approve,
        "search": search,
        "control": control,
        "seconds": None if for_ is None else parse_duration(for_),
    }
    folder = locate(workspace)
    screen = Screen()
    parse_generations(generations, 0)
    if hint is not None and not hint.is_file():
        raise UsageError(f"There is no file {hint} to give as a hint.")
    if dry_run:
        preview(
            folder,
            override(DEFAULTS, given),
            given,
            genome or beginning.ANCESTOR,
            agents_file(agents),
            hint,
            generations,
            screen,
        )
        return
    with (
        telling(notify, folder, screen) as told,
        opened_for(folder, given, genome, text, data, agents_file(agents)) as opened,
        gateway_for(opened.config, folder, screen.say, replay) as gateway,
        confined(opened.config, folder, screen.say, gateway) as confinement,
    ):
        if hint is not None:
            shutil.copyfile(hint, folder / HINT)
        evolution = beginning.begin(
            opened, screen, interactive=options.interactive(), confinement=confinement, gateway=gateway
        )
        evolution.notify = told
        evolution.retrained = set() if retrain else None
        run = evolution.run
        target = parse_generations(generations, run.generation)
        if run.target is not None and generations.strip().startswith("+"):
            target = run.target  # the same command again finishes what was asked for, and adds nothing
        if target <= run.generation and run.target is None and not retrain and not _asked_for(evolution):
            done = counted(run.generation, "generation")
            screen.say(f"Nothing is missing: {done} complete. For more: darwin evolve -g +5 -C {folder}")
            show_end(evolution, evolution.run.comparison)
            return
        target = max(target, run.generation)
        gc.freeze()  # what was read lives as long as the run: no search for garbage need go through it again
        try:
            with watched(evolution, target):
                comparison = run_loop(evolution, target)
        except KeyboardInterrupt:
            screen.say(
                f"Stopped by you; {evolution.run.generation} of {target} generations are complete and all "
                "that was measured is kept. The same command goes on from here."
            )
            return
        except Exception:
            screen.say(
                f"{evolution.run.generation} of {target} generations are complete and all that was measured is "
                "kept. The same command goes on from here.",
                "yellow",
            )
            raise
        complete = f"{evolution.run.generation} of {target} generations are complete."
        told(*((FAILURE, complete) if evolution.cut_short else (END, headline(evolution.memory))))
        show_end(evolution, comparison)
        if evolution.run.generation < target:
            screen.say(complete, "yellow")
        if evolution.cut_short:
            raise typer.Exit(1)


def _asked_for(evolution: Evolution) -> bool:
    """Whether people have left anything to do: decisions to carry out, edits to judge, layouts to try."""
    memory, answered = evolution.memory, answers.answered(evolution.workspace.folder)
    return bool(answered or unjudged(memory) or pending(memory.requests, Kind.LAYOUT))


@contextmanager
def telling(command: str | None, folder: Path, screen: Screen) -> Iterator[Notifier]:
    """The person's own command of ``--notify``; it is told of a failure too."""
    notifier = Notifier(command, folder, screen.say)
    try:
        yield notifier
    except typer.Exit:
        raise  # what it is about was told
    except Exception as error:
        notifier(FAILURE, str(error))
        raise
    finally:
        notifier.finish()


@contextmanager
def watched(evolution: Evolution, target: int) -> Iterator[None]:
    """On a terminal, show what goes on; let the person there, if one is to be asked, open the gate meanwhile."""
    with evolution.screen.watching(partial(progress, evolution, target)):
        if evolution.desk is None:
            yield
            return
        bell = Bell(evolution.workspace.folder, evolution.screen, evolution.workspace.lineage.person())
        evolution.before_asking = bell.stop
        bell.start()
        try:
            yield
        finally:
            bell.stop()


def agents_wanted(agents: str | None, population: int | None) -> str | None:
    """The agents of the two options, as the configuration has them."""
    if agents is not None and agents.endswith(".toml"):
        if population is not None:
            raise UsageError(f"--population {population} and {agents} disagree. Give one of them.")
        return AGENTS
    if population is None:
        return agents
    if population < 2:
        raise UsageError(
            f"--population {population}: at least 2 are needed, as no agent rewrites its own script."
        )
    if agents is None or agents in KINDS:
        return f"{agents or 'rules'}:{population}"
    if (
        sum(int(part.rpartition(":")[2]) for part in agents.split(",") if part.rpartition(":")[2].isdigit())
        != population
    ):
        raise UsageError(f"--population {population} and --agents {agents} disagree. Give one of them.")
    return agents


def agents_file(agents: str | None) -> Path | None:
    """The agents.toml that was given for a specification, if one was."""
    if agents is None or not agents.endswith(".toml"):
        return None
    if not Path(agents).is_file():
        raise UsageError(f"There is no file {agents}. Write one: darwin agents init")
    return Path(agents)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The workspace's lock. What people said while a run was ending is carried out after it, as they were promised."""
    with locked(folder):
        yield
    if answers.anything(folder):
        screen = Screen()
        try:
            settle(folder, screen)
        except UsageError as error:
            screen.say(str(error), "yellow")


@contextmanager
def opened_for(
    folder: Path,
    given: dict[str, Any],
    genome: Path | None,
    text: Path | None,
    data: Path | None,
    agents: Path | None = None,
) -> Iterator[Workspace]:
    """The workspace, made if it is missing, locked. One that was made in vain is taken back."""
    if is_workspace(folder):
        with held(folder):
            for sentence in rescue(folder):
                Screen().say(sentence, "yellow")
            workspace = open_workspace(folder)
            if genome is not None:
                beginning.refuse_other_genome(workspace, genome)
            if agents is not None:
                beginning.refuse_other_agents(folder, agents)
            wanted = check(override(workspace.config, given))
            wanted = replace(wanted, data=str(beginning.data_folder(workspace.config, text, data)))
            beginning.refuse_changed(workspace.config, wanted)
            yield replace(workspace, config=wanted)
        return
    config = check(override(DEFAULTS, given))
    beginning.require_free(folder)
    config = replace(config, data=str(beginning.data_folder(config, text, data)))
    workspace = beginning.create(folder, config, genome or beginning.ANCESTOR, agents)
    with held(folder):
        try:
            yield workspace
        except (UsageError, SandboxError, AgentError):
            if not workspace.memory.begun:
                beginning.discard(folder)
            raise
