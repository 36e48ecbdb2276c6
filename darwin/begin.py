"""Beginning: make a workspace, or open one, and set up everything an evolution needs."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from darwin.agents import roster
from darwin.agents.gateway import Gateway
from darwin.agents.members import FILE as AGENTS
from darwin.agents.members import Members
from darwin.agents.members import read as read_members
from darwin.agents.prompts import Prompts
from darwin.committed import committed
from darwin.config import FIXED, Config, save
from darwin.confinement import Confinement, plain
from darwin.curves import Curves
from darwin.desk import Desk
from darwin.errors import UsageError
from darwin.events import FILE as RUN_LOG
from darwin.events import Events
from darwin.evolution import SEEDS, Evaluate, Evolution
from darwin.further import with_further
from darwin.keys import Keys
from darwin.lineage import (
    MAIN,
    Lineage,
    individual_ref,
    population_refs,
    read_genome,
    require_git,
    text_files,
)
from darwin.measure import with_trial
from darwin.memory import Memory
from darwin.memory.records import AgentCard, Individual, Run, Trial, TrialStatus
from darwin.models import members_of
from darwin.packages import Packages, lock
from darwin.prepare import default_folder, prepare
from darwin.resume import resume, sweep_unfinished
from darwin.reviewers import Auto, Defer, Policy, Reviewer
from darwin.rulings import rule
from darwin.sandbox import Contract, Dataset, Job, Limits, calibrate, evaluate
from darwin.sandbox.pace import Pace
from darwin.sandbox.trials import run_smoke
from darwin.screen import Screen
from darwin.workspace import CONFIG, Workspace, open_workspace

ANCESTOR = Path(__file__).parent / "nanogpt_base"


def create(folder: Path, config: Config, genome: Path, agents: Path | None = None) -> Workspace:
    """Make a workspace with the genome as its root commit; ``agents`` is an agents.toml to be copied into it.

    Raises:
        UsageError: the folder holds something else, or the genome is unusable; nothing was made.
    """
    require_git()
    files = read_genome(genome)
    contract = Contract.parse(text_files(files)["genome.toml"])
    files |= {
        p: (genome / p).read_bytes() for p in contract.files if p not in files and (genome / p).is_file()
    }
    absent = [path for path in contract.files if path not in files]
    if absent:
        raise UsageError(f"{genome}/genome.toml names {absent[0]}, but there is no such file beside it.")
    cards(members_of(config, folder) if agents is None else read_members(agents))
    require_free(folder)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep_unfinished(folder)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.{os.getpid()}.new", dir=folder.parent))
    try:
        if agents is not None:
            shutil.copyfile(agents, work / AGENTS)
        _fill(work, config, files)
        work.chmod(0o755)
        _give_name(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return replace(open_workspace(folder), config=config)


def _give_name(work: Path, folder: Path) -> None:
    """Move a finished workspace to its place; into a folder that is there already, its configuration comes last."""
    if not folder.exists():
        work.rename(folder)
        return
    for entry in sorted(work.iterdir(), key=lambda entry: entry.name == CONFIG):
        entry.rename(folder / entry.name)
    work.rmdir()


def _fill(folder: Path, config: Config, files: dict[str, bytes]) -> None:
    """The contents of a new workspace; it gets its name only when complete, so that a half-made one is never seen."""
    lineage = Lineage.create(folder)
    base = committed(
        lineage,
        files,
        [],
        body=["Every other script in this repository descends from this one."],
        id="g000-base",
        ordinal=0,
        generation=0,
        operator="base",
        subject="The base genome",
    )
    memory = Memory(lineage.repo, folder / "memory")
    memory.record(base, refs={MAIN: base.commit, individual_ref(base.id): base.commit})
    lineage.check_out(None, base.commit)
    usual = Config()  # what was asked of one run is no setting of all of them
    lasting = replace(config, approve=usual.approve, patience=None, seconds=None)
    save(lasting, folder / CONFIG)


def require_free(folder: Path) -> None:
    """Raise UsageError when something else is where a new workspace should go."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists and is not a darwin workspace. Choose another --workspace, or an empty folder."
        )


def discard(folder: Path) -> None:
    """Take back a workspace that was made a moment ago and cannot be used."""
    shutil.rmtree(folder, ignore_errors=True)


def refuse_changed(begun: Config, wanted: Config) -> None:
    """Raise UsageError where an option would change what an evolution was begun with."""
    for name in FIXED:
        old, new = getattr(begun, name), getattr(wanted, name)
        if old != new:
            raise UsageError(
                f"This workspace was begun with {name} = {old!r}, and its scripts would not be comparable with "
                f"{new!r}. Choose another --workspace."
            )


def refuse_edited(run: Run, config: Config, folder: Path) -> None:
    """Raise UsageError where darwin.toml was edited away from what the evolution was begun with."""
    begun = {name: getattr(run, name) for name in ("seed", "budget", "batch", "search", "control", "device")}
    begun["budget"] = (*run.budgets, run.budget)[0]  # a granted request may have changed it since
    for name, value in begun.items():
        if value != getattr(config, name):
            raise UsageError(
                f"{CONFIG} says {name} = {getattr(config, name)!r}, but this evolution was begun with {value!r}. "
                "Write that back, or choose another --workspace."
            )
    if _who(cards(members_of(config, folder))) != _who(run.agents):
        raise UsageError(
            f'{CONFIG} says agents = "{config.agents}", but this evolution was begun with {len(run.agents)} others. '
            "Write that back, or choose another --workspace."
        )


def refuse_other_genome(workspace: Workspace, genome: Path) -> None:
    """Raise UsageError when a workspace was made from another genome than the one in a folder."""
    if workspace.lineage.tree(read_genome(genome)) != workspace.memory.resolve("base").tree:
        raise UsageError(
            f"{workspace.folder} was made from another genome than {genome}. Choose another --workspace for it."
        )


def refuse_other_agents(workspace: Path, agents: Path) -> None:
    """Raise UsageError when a workspace has another agents.toml than the one given."""
    own = workspace / AGENTS
    if not own.is_file() or own.read_bytes() != agents.read_bytes():
        raise UsageError(
            f"{workspace} was made with other agents than {agents}. Edit {own}, or choose another --workspace."
        )


def cards(found: Members) -> tuple[AgentCard, ...]:
    """The agents as records name them. Raises UsageError for fewer than two."""
    if len(found.members) < 2:
        raise UsageError(
            f"--agents names {len(found.members)} agent; at least 2 are needed, as no agent rewrites its own script."
        )
    return tuple(
        AgentCard(name=m.name, kind=m.kind, temperament=m.temperament, model=m.model or None)
        for m in found.members
    )


def _who(agents: tuple[AgentCard, ...]) -> list[AgentCard]:
    """Who they are: a model may be replaced by another, and each child's record names the one that wrote it."""
    return [card.model_copy(update={"model": None}) for card in agents]


def data_folder(config: Config, text: Path | None, data: Path | None) -> Path:
    """The prepared data of a configuration, preparing them if they are missing."""
    if text is not None or data is not None:
        return prepare(text, data)
    if not config.data or Path(config.data) == default_folder():
        return prepare()
    if not (Path(config.data) / "meta.json").is_file():
        raise UsageError(
            f"The data of this workspace are gone: {config.data}. Give --text or --data as it was made with."
        )
    return Path(config.data)


def begin(
    workspace: Workspace,
    screen: Screen,
    *,
    interactive: bool,
    confinement: Confinement | None = None,
    evaluate: Callable[..., Iterator[tuple[Job, Trial]]] = evaluate,
    calibrate: Callable[..., float] = calibrate,
    smoke: Callable[..., Trial] = run_smoke,
    gateway: Gateway | None = None,
) -> Evolution:
    """Everything ready for ``evolve``: data loaded, sandbox up, the base measured.

    Call with the workspace locked. ``evaluate`` and ``calibrate`` are the sandbox's; tests of the loop give
    deterministic ones. Without a ``confinement`` trials are plain processes; without a ``gateway`` no agent can
    ask a model.

    Raises:
        UsageError: the data changed, or the base does not train (its last lines are shown).
    """
    config, memory = workspace.config, workspace.memory
    dataset = Dataset.load(Path(config.data))
    events = Events(workspace.folder / RUN_LOG)
    if (found := resume(workspace, events)) is not None:
        screen.say(found)
    confinement = confinement or plain()
    conditions = f"torch {version('torch')}, 1 thread, {config.device}, {confinement.image}"
    sandbox = confinement.sandbox
    workers = min(config.workers, len(config.devices) or config.workers)
    trials = partial(evaluate, dataset=dataset, sandbox=sandbox, workers=workers, device=config.device)
    base = memory.resolve("base")
    pace = Pace(memory.run.pace if memory.begun else None)
    curves = Curves(workspace.artifacts)

    def on_event(job: Job, event: dict[str, Any]) -> None:
        if event.get("event") == "phase":
            events.phase(job, str(event.get("phase")))
        curves.note(job, event)
        screen.event(job.label, event)

    trials = partial(_under, conditions, partial(trials, pace=pace, on_event=on_event))
    if not memory.begun:
        with events.step("calibrate"):
            peak = calibrate(sandbox, device=config.device)
        first = events.followed(partial(trials, peak_flops=peak, limits=Limits()))
        _measure_base(workspace, dataset, first, peak, pace, screen)
        curves.keep(base.id, config.budget, config.seed * 1000 + SEEDS["selection"])
    run = memory.run
    refuse_edited(run, config, workspace.folder)
    if run.dataset != dataset.digest:
        raise UsageError(
            f"The data in {config.data} are not those this evolution was begun with. Remove that folder, and give "
            "--text or --data as it was made with."
        )
    base = memory.resolve("base")
    if base.trials and not base.trials[0].under(conditions):
        screen.say(
            f"This evolution ran under other conditions so far: {base.trials[0].conditions}; now it is {conditions}. "
            "What new scripts are compared with is trained anew before it goes on; its earlier trials are kept.",
            "yellow",
        )
    files_of_settings = [p for p in (workspace.folder / name for name in (CONFIG, AGENTS)) if p.is_file()]
    memory.keep_settings({p.name: p.read_text(encoding="utf-8") for p in files_of_settings})
    members = members_of(config, workspace.folder)
    prompts = Prompts(workspace.folder / "prompts")

    packages = Packages(confinement.provide)

    def granted() -> dict[str, Any]:
        """The data and the bounds that trials have by now."""
        known = with_further(dataset, memory.requests)
        return {"dataset": known, "limits": limits_for(memory.resolve("base"))}

    def evaluated(jobs: Sequence[Job]) -> Iterator[tuple[Job, Trial]]:
        locked = packages.ready(memory.requests)
        for job, trial in trials(jobs, peak_flops=run.peak_flops, **granted()):
            yield job, trial if locked is None else trial.model_copy(update={"packages": locked})

    def smoked(job: Job) -> Trial:
        packages.ready(memory.requests)
        return smoke(job, sandbox=sandbox, device=config.device, **granted())

    if confinement.provide is None and lock(memory.requests):
        screen.say("Packages were granted for containers: here scripts that import them fail.", "yellow")
    granted()  # what is gone is said before anything begins
    return Evolution(
        workspace=workspace,
        agents={a.name: a for a in roster(members, confinement.launch, gateway, prompts)},
        smoke=smoked,
        gateway=gateway,
        evaluate=events.followed(evaluated),
        reviewer=reviewer(config),
        screen=screen,
        curves=curves,
        desk=Desk(screen.console, Keys(), workspace.lineage.person(), partial(rule, folder=workspace.folder))
        if interactive and config.approve == "ask"
        else None,
        elsewhere=confinement.cpu_seconds,
        events=events,
        conditions=conditions,
        packages=lambda: packages.digest(memory.requests),
        deadline=None if config.seconds is None else time.monotonic() + config.seconds,
    )


def _under(
    conditions: str, evaluate: Callable[..., Iterator[tuple[Job, Trial]]], jobs: Sequence[Job], **more: Any
) -> Iterator[tuple[Job, Trial]]:
    """Evaluate, and write on each trial under which conditions it was run."""
    with closing(evaluate(jobs, **more)) as trials:  # type: ignore[type-var]
        for job, trial in trials:
            yield job, trial.model_copy(update={"conditions": conditions})


def limits_for(base: Individual) -> Limits:
    """The bounds of a trial, from what the base's own trial cost."""
    first = base.trials[0] if base.trials else None
    if first is None or first.seconds is None:
        return Limits()
    bill = first.seconds * (first.slowdown or 1.0)
    return Limits().after_base(bill, first.judge_seconds)


def reviewer(config: Config) -> Reviewer:
    """Who decides while the run goes on; a person decides when they like."""
    if config.approve == "auto":
        return Auto()
    if config.approve == "policy":
        return Policy(config.least_gain, config.least_confidence, config.most_added)
    return Defer()


def _measure_base(
    workspace: Workspace, dataset: Dataset, evaluate: Evaluate, peak: float, pace: Pace, screen: Screen
) -> None:
    config, memory = workspace.config, workspace.memory
    base = memory.resolve("base")
    screen.say(f"Measuring {base.id}, the script as it is, on {config.budget} of {dataset.name}.")
    seed = config.seed * 1000 + SEEDS["selection"]
    job = Job(
        label=base.id,
        files=workspace.lineage.files(base.commit),
        seed=seed,
        tokens=None,
        budget=config.budget,
    )
    ((_, trial),) = evaluate([job])
    if trial.status is not TrialStatus.OK:
        last = "\n".join((trial.error or "It printed nothing.").strip().splitlines()[-8:])
        raise UsageError(
            f"The base genome does not train: {trial.status.replace('_', ' ')} in its {trial.phase} phase. "
            f"Its last lines:\n{last}"
        )
    agents = cards(members_of(config, workspace.folder))
    population = {card.name: base.id for card in agents}
    run = Run(
        seed=config.seed,
        agents=agents,
        budget=config.budget,
        tokens=trial.tokens,
        batch=config.batch,
        device=config.device,
        search=config.search,
        control=config.control,
        dataset=dataset.digest,
        dataset_name=dataset.name,
        torch=version("torch"),
        peak_flops=peak,
        pace=pace.settle(),
        population=population,
        main=base.commit,
        incumbent=base.id,
    )
    measured = with_trial(base, trial, memory.individuals)
    memory.record(measured, run, refs=population_refs(population, memory))
    screen.measured(measured, trial, memory)
