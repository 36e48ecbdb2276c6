"""``darwin init``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from darwin import adoption
from darwin import begin as beginning
from darwin.audit import Line, audit
from darwin.cli import options
from darwin.cli.audit import say_lines
from darwin.cli.evolve import DEFAULTS, agents_file, agents_wanted, opened_for
from darwin.config import check, override
from darwin.confinement import confined
from darwin.errors import UsageError
from darwin.lineage import read_genome
from darwin.memory.records import TrialStatus
from darwin.origin import ADAPTER
from darwin.sandbox import Dataset, Job, Limits
from darwin.sandbox.seeding import seeding
from darwin.sandbox.session import Failed
from darwin.screen import Screen, safe
from darwin.workspace import CONFIG, is_workspace, locate

TRIED_SECONDS = 2.0
"""Seconds of training that the audit of a drafted genome should take, about."""
LONGER = (4, 64)
"""How many times the tokens of its first steps that training has, at least and at most."""
DEARER = 1.5
"""Times the seconds of its first steps that this has to cost: a script that ignores its length costs the same."""
SEEDED = "equal seeds train to equal models, another seed to another"


def init(
    workspace: options.Workspace = None,
    genome: options.Genome = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Folder of a training script of yours, without genome.toml", show_default=False
        ),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            help='How you start it: "python train.py config/small.py"  [default: found out]',
            show_default=False,
        ),
    ] = None,
    text: options.Text = None,
    data: options.Data = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it")] = DEFAULTS.seed,
    budget: Annotated[
        str, typer.Option(help="Training of every trial: 20s, 200ktok or 1TFLOP")
    ] = DEFAULTS.budget,
    agents: Annotated[
        str, typer.Option(help="Kinds of agents and how many, or an agents.toml")
    ] = DEFAULTS.agents,
    model: Annotated[
        str | None, typer.Option(help="The model that agents of kind openai ask", show_default=False)
    ] = None,
    sandbox: Annotated[
        str, typer.Option(help="What confines the checks of --from: auto, docker or process")
    ] = DEFAULTS.sandbox,
) -> None:
    """Make a workspace; then edit its darwin.toml. With --from, draft what a script of yours lacks, and try it.

    \b
    Examples:
      darwin init --from ~/nanoGPT --train "python train.py config/train_shakespeare_char.py"
      darwin init --workspace night --genome ~/my_gpt
    """
    folder = locate(workspace)
    if is_workspace(folder):
        raise UsageError(
            f"{folder} is a workspace already. Go on with it: darwin evolve --workspace {folder}"
        )
    if from_ is None and train is not None:
        raise UsageError("--train says how the script of --from is started. Give both.")
    if from_ is not None and genome is not None:
        raise UsageError("--from and --genome both say what to evolve. Give one of them.")
    given = {
        "seed": seed, "budget": budget, "agents": agents_wanted(agents, None), "model": model, "sandbox": sandbox,
    }  # fmt: skip
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="darwin-init-") as name:
        if from_ is not None:
            beginning.require_free(folder)
            made = adoption.draft(from_, train)
            data = data or (None if text else adoption.tokens_folder(made, Path(name) / from_.resolve().name))
            genome = Path(name) / "genome"
            adoption.write(made, genome)
            tokens = beginning.data_folder(DEFAULTS, text, data)
            try:
                _try(made, genome, tokens, given, folder, screen)
            except UsageError as error:
                kept = adoption.keep(genome, folder)
                again = f"darwin init --genome {kept} -C {folder} --data {tokens}"
                raise UsageError(f"{error} The draft is {kept}/: edit it, then {again}") from None
        with opened_for(folder, given, genome, text, data, agents_file(agents)):
            screen.say(
                f"Made {folder}/ with the base genome as its first commit. Settings: {folder / CONFIG}. "
                f"Next: darwin evolve --workspace {folder}"
            )


def _try(
    made: adoption.Draft, genome: Path, data: Path, given: dict[str, Any], folder: Path, screen: Screen
) -> None:
    """Say what was drafted, then try it in the sandbox. Raises UsageError where it is not ready to evolve."""
    for sentence in made.said:
        screen.say(sentence)
    for sentence in made.problems:
        screen.say(f"To do: {sentence}", "yellow")
    if made.problems:
        raise UsageError(f"{len(made.problems)} of its parts could not be worked out, as said above.")
    dataset, files = Dataset.load(data), read_genome(genome)
    config = check(override(DEFAULTS, given))
    limits = Limits()
    screen.say(
        f"Trying it on {dataset.name}, confined: a few steps, seeds, an audit after a longer training."
    )
    with confined(config, folder, screen.say) as confinement:
        job = Job("seeds", files, 1, None, f"{limits.smoke_tokens}tok")
        try:
            problem, seconds = seeding(job, dataset, confinement.sandbox, limits, config.device)
        except Failed as failed:
            say_lines(screen, [Line("smoke", False, failed.error.partition("\n")[0])])
            raise UsageError(
                f"It does not run, or load does not give its model: {last_lines(failed.error)}"
            ) from None
        say_lines(screen, [Line("seed", problem is None, problem or SEEDED)])
        if problem is not None:
            raise UsageError("Its seed does not do what a seed does, as said above.")
        times = round(min(LONGER[1], max(LONGER[0], TRIED_SECONDS / seconds)))
        budget = f"{limits.smoke_tokens * times}tok"
        trial, lines = audit(genome, genome, dataset, confinement.sandbox, budget, config.device)
    say_lines(screen, lines)
    if trial.status is not TrialStatus.OK:
        raise UsageError(f"It does not pass the audit: {last_lines(trial.error or '')}")
    follows = (trial.seconds or 0.0) > DEARER * seconds
    cost = f"{times} x the tokens cost {(trial.seconds or 0.0) / seconds:.1f} x the seconds"
    say_lines(screen, [Line("length", follows, cost)])
    if not follows:
        raise UsageError(f"It trains as long whatever a trial says: LENGTH in {ADAPTER} is not what ends it.")
    screen.say(f"Perplexity {trial.perplexity:.3f} after {trial.tokens:,} tokens of {dataset.name}.", "bold")


def last_lines(error: str) -> str:
    """The last words of a script, control characters gone."""
    return "\n".join(safe(line, 200) for line in error.strip().splitlines()[-12:])
