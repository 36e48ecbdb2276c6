"""``darwin sample``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from darwin.begin import limits_for
from darwin.cli import options
from darwin.confinement import Confinement, confined
from darwin.errors import UsageError
from darwin.further import with_further
from darwin.measure import tokens_of
from darwin.memory.records import Individual
from darwin.packages import Packages
from darwin.sandbox import Dataset, Job
from darwin.sandbox.sampling import sample as text_of
from darwin.sandbox.session import Failed
from darwin.screen import Screen, safe
from darwin.workspace import Workspace, locate, open_workspace


def sample(
    id: options.ID = "champion",
    workspace: options.Workspace = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="Text to go on from  [default: the validation split's first]", show_default=False),
    ] = None,
    length: Annotated[int, typer.Option(help="Tokens to write", min=1, max=2000)] = 200,
    temperature: Annotated[
        float, typer.Option(help="Below 1 surer, above 1 wilder", min=0.05, max=5.0)
    ] = 0.8,
    json: options.Json = False,
) -> None:
    """Let the base and another script go on from the same text, side by side. Both are trained anew, confined.

    \b
    Examples:
      darwin sample champion
      darwin sample g002-ada --prompt "ROMEO:" --length 400
    """
    opened = open_workspace(locate(workspace))
    memory = opened.memory
    chosen = memory.resolve(id)
    dataset = with_further(Dataset.load(Path(opened.config.data)), opened.memory.requests)
    start = prompt_tokens(dataset, prompt)
    if not chosen.trials:
        raise UsageError(f"{chosen.id} was never trained ({chosen.status}), so it has no text to give.")
    screen, said = Screen(Console(stderr=True, highlight=False) if json else None), {}
    with confined(opened.config, opened.folder, screen.say) as confinement:
        Packages(confinement.provide).ready(memory.requests)
        for one in {i.id: i for i in (memory.resolve("base"), chosen)}.values():
            try:
                written = list(_tokens(opened, one, dataset, confinement, start, length, temperature))
            except Failed as failed:
                raise UsageError(f"{one.id} gives no text: {safe(failed.error, 300)}") from failed
            said[one.id] = decoded(dataset, written)
    if json:
        options.print_json({"prompt": decoded(dataset, start), "texts": said})
        return
    screen.say(f"Going on from: {safe(decoded(dataset, start), 300)}", "bold")
    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in said:
        table.add_column(name, overflow="fold", ratio=1)
    table.add_row(*(Text("\n".join(safe(line, 2000) for line in text.split("\n"))) for text in said.values()))
    screen.console.print(table)


def _tokens(
    opened: Workspace,
    one: Individual,
    dataset: Dataset,
    confinement: Confinement,
    start: list[int],
    length: int,
    temperature: float,
) -> Iterator[int]:
    memory, run = opened.memory, opened.memory.run
    tokens = tokens_of(one, run.budget, memory.individuals) or run.tokens
    job = Job(one.id, opened.lineage.files(one.commit), one.trials[0].seed, tokens, run.budget)
    limits = limits_for(memory.resolve("base"))
    return text_of(job, dataset, confinement.sandbox, limits, start, length, temperature, run.device)


def prompt_tokens(dataset: Dataset, prompt: str | None) -> list[int]:
    """The tokens of a prompt, or of the validation split's first 64.

    Raises:
        UsageError: the data's tokens are no characters, or the prompt has others than the data.
    """
    symbols = _symbols(dataset)
    if prompt is None:
        return [int(token) for token in dataset.splits["val"][:64]]
    unknown = sorted(set(prompt) - set(symbols))
    if not prompt or unknown:
        raise UsageError(
            f"The prompt has to be of the data's own characters; {safe(''.join(unknown)) or 'it is empty'!r}."
        )
    return [symbols.index(char) for char in prompt]


def decoded(dataset: Dataset, tokens: list[int]) -> str:
    """Tokens as text."""
    symbols = _symbols(dataset)
    return "".join(symbols[token] for token in tokens)


def _symbols(dataset: Dataset) -> list[str]:
    symbols = dataset.meta.get("chars")
    if not isinstance(symbols, list) or len(symbols) != dataset.vocab_size:
        raise UsageError("Only data of one token a character can be shown as text: those made with --text.")
    return [str(symbol) for symbol in symbols]
