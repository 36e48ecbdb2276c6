"""Export: a script taken home, as a patch for the folder it came from, or as a folder that runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from darwin.errors import UsageError
from darwin.lineage import Lineage, one_line
from darwin.memory import Memory
from darwin.memory.memory import describe_check, describe_verdict, percent
from darwin.memory.records import Individual
from darwin.needs import needs, pack
from darwin.origin import origin_in
from darwin.sandbox import Contract

NUMBERS = "DARWIN.md"
PLAIN = (
    *("-p", "-r", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
)


def patch(lineage: Lineage, base: Individual, chosen: Individual) -> bytes:
    """What ``git apply`` turns the base genome's folder into the chosen script with; empty where they are equal.

    An adopted script's paths are those of the repository that it came from.
    """
    origin = origin_in(lineage.files(base.commit))
    inside = origin.inside if origin else ""
    prefixes = (f"--src-prefix=a/{inside}", f"--dst-prefix=b/{inside}")
    raw = {"stdout_as_string": False, "strip_newline_in_stdout": False}
    return bytes(lineage.repo.git.diff_tree(*PLAIN, *prefixes, base.commit, chosen.commit, **raw))


def folder(memory: Memory, lineage: Lineage, chosen: Individual, target: Path) -> None:
    """Write the script's files, what else it needs to run, and ``DARWIN.md`` with its numbers into a new folder.

    Raises:
        UsageError: there is something at that place already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists and is not an empty folder. Choose another place.")
    files = lineage.files(chosen.commit)
    for path, data in files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(data)
    beside = pack(needs(memory, chosen, files), target)
    (target / NUMBERS).write_text(numbers(memory, lineage, chosen, beside), encoding="utf-8")


def numbers(memory: Memory, lineage: Lineage, chosen: Individual, beside: Sequence[str] = ()) -> str:
    """What is known of a script, and how to run it; ``beside`` are paragraphs on what else that takes."""
    run = memory.run
    contract = Contract.parse(lineage.files(chosen.commit)["genome.toml"].decode())
    author = (
        f"Written by {one_line(chosen.author)}."
        if chosen.author
        else "The script that the evolution began with."
    )
    lines = [
        f"# {chosen.id}",
        "",
        one_line(chosen.subject, 200),
        "",
        author,
        f"Commit {chosen.commit}, tree {chosen.tree}.",
    ]
    lines += ["", "## Numbers", ""]
    trial = chosen.trials[0] if chosen.trials else None
    if trial is not None and trial.loss is not None and trial.perplexity is not None:
        to_base = f", {percent(chosen.delta['base'])} to the base" if "base" in chosen.delta else ""
        lines.append(
            f"- validation perplexity {trial.perplexity:.3f} ({trial.loss:.4f} nats a token){to_base}, after "
            f"{trial.tokens:,} training tokens ({trial.budget}) of {run.dataset_name}, seed {trial.seed}"
        )
        if trial.mfu is not None:
            lines.append(f"- MFU {trial.mfu:.1%} on {run.device}, torch {run.torch}")
    if chosen.verdict is not None:
        lines.append(f"- {describe_verdict(chosen)}")
    if chosen.parents:
        lines.append(f"- {describe_check(chosen)}")
    tokens = trial.tokens if trial is not None else run.tokens
    command = " ".join(contract.arguments(seed=1, tokens=tokens, device=run.device))
    lines += [
        "",
        "## Run",
        "",
        *(line for paragraph in beside for line in (paragraph, "")),
        "With the data (train.bin, val.bin, meta.json) in ../data, in this folder:",
        "",
    ]
    return "\n".join([*lines, f"    python {command}", ""])
