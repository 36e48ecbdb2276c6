"""Adoption: read a person's own training script, never run it, and draft what darwin needs beside it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darwin import adapter, paths_in
from darwin.agents.inside.rules import WINDOWS
from darwin.errors import UsageError
from darwin.lineage import GENOME_FILE
from darwin.origin import ADAPTER, origin_of
from darwin.own_script import foreign_imports, imported_by, parsed, sources_in, started, used_by


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


STEPS = _names(
    "max_iters max_steps num_iterations num_steps n_steps total_steps train_steps training_steps num_train_steps "
    "num_iters n_iters total_iters train_iters iterations iters steps num_updates max_updates updates"
)
WHOLE = _names("max_tokens total_tokens train_tokens num_tokens token_budget")
EPOCHS = _names("epochs num_epochs n_epochs max_epochs")
BATCH = _names(
    "batch_size train_batch_size micro_batch_size device_batch_size per_device_batch_size batch bs"
)
ACCUMULATED = _names(
    "gradient_accumulation_steps grad_accumulation_steps grad_accum_steps accumulation_steps grad_accum"
)
SEEDS = _names("seed random_seed rng_seed manual_seed")
RARE = _names("eval_interval eval_every val_interval val_every validate_every sample_every")
FEW = _names("eval_iters eval_batches val_batches val_steps val_iters eval_iterations")
OFF = _names("compile use_compile torch_compile wandb_log use_wandb tensorboard_log use_tensorboard")
NEVER = 1_000_000_000


@dataclass
class Draft:
    """What was made of a folder: ``files`` of the genome, ``said`` what was drafted and why, ``problems`` what could
    not be worked out (a sentence each, with the line to edit), and the folder's own tokens, if it has any."""

    files: dict[str, bytes]
    said: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    train: Path | None = None
    val: Path | None = None


@dataclass(frozen=True)
class Found:
    """The facts of the adapter, as its capitals name them, and the length of a window."""

    facts: dict[str, Any]
    context: int | None


def draft(folder: Path, command: str | None = None) -> Draft:
    """Draft ``genome.toml`` and the adapter for the script in a folder, of which nothing is changed or run.

    Args:
        command: how its owner starts it, for example ``python train.py config/small.py``; None: to be found out.

    Raises:
        UsageError: there is no such folder, it is a genome already, or its script cannot be told.
    """
    if not folder.is_dir():
        raise UsageError(f"--from {folder}: there is no such folder.")
    for name in (ADAPTER, GENOME_FILE):
        if (folder / name).exists():
            raise UsageError(f"{folder} has a {name} already. Use it as it is: darwin init --genome {folder}")
    sources = sources_in(folder)
    script, options = started(folder, sources, command)
    used = used_by(script, options, sources)
    for path in used:
        parsed(path, sources[path])
    made = Draft({path: sources[path].encode() for path in used})
    origin, changed = origin_of(folder, made.files)
    known = adapter.in_force({path: sources[path] for path in used}, script, options)
    found = _found(made, {path: sources[path] for path in used}, script, options, known)
    found.facts["ORIGIN"] = origin.facts()
    mine = (script, *options, *imported_by(script, sources))
    evolvable = [path for path in used if path in mine and sources[path].strip()]
    made.said[:0] = [
        f"It is started as: python {shlex.join([script, *options])}",
        f"It consists of {', '.join(used)}; agents may rewrite {', '.join(evolvable)}.",
    ]
    made.said.append(_place(origin.commit, origin.folder, changed))
    made.files[ADAPTER] = _adapter(found.facts).encode()
    made.files[GENOME_FILE] = _contract(found, evolvable).encode()
    made.problems += foreign_imports(used, sources)
    _their_tokens(made, folder, found.facts["TOKENS"])
    return made


def write(made: Draft, folder: Path) -> None:
    """Write the drafted genome into a new folder."""
    for path, data in made.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def keep(draft: Path, workspace: Path) -> Path:
    """Move a draft that is not ready beside the workspace it is meant for; where it is now."""
    workspace = workspace if workspace.name else workspace.resolve()
    names = (f"{workspace.name}-draft{number}" for number in ("", *(f"-{n}" for n in range(2, 1000))))
    target = next(place for name in names if not (place := workspace.parent / name).exists())
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(draft, target)
    return target


def tokens_folder(made: Draft, folder: Path) -> Path | None:
    """A new folder in which the script's own tokens have nanoGPT's names; None where it has none."""
    if made.train is None or made.val is None:
        return None
    folder.mkdir()
    for name, path in (("train.bin", made.train), ("val.bin", made.val)):
        (folder / name).symlink_to(path.resolve())
    return folder


def _first(names: tuple[str, ...], known: Mapping[str, Any], kind: type = int) -> str | None:
    """The first of the names, in whatever case, that is a setting of a kind."""
    lower = {name.lower(): name for name, value in known.items() if type(value) is kind}
    return next((lower[name] for name in names if name in lower), None)


def _found(
    made: Draft, sources: dict[str, str], script: str, options: list[str], known: dict[str, Any]
) -> Found:
    """The facts of the adapter; what is missing becomes a problem."""
    facts: dict[str, Any] = {"SCRIPT": script, "OPTIONS": options}
    context = _first(WINDOWS, known)
    facts |= _length(made, sources, known, context)
    facts["ALWAYS"] = {
        **{n: NEVER for n in known if n.lower() in RARE and type(known[n]) is int},
        **{n: 1 for n in known if n.lower() in FEW and type(known[n]) is int},
        **{n: False for n in known if n.lower() in OFF and known[n] is True},
    }
    if facts["ALWAYS"]:
        values = ", ".join(f"{name} = {value}" for name, value in facts["ALWAYS"].items())
        made.said.append(
            f"In every trial {values}: validating and logging are darwin's, and cost training time."
        )
    names = {
        one.name for path, source in sources.items() for one in adapter.settings_in(source, path)
    } | known.keys()
    facts["SEED"] = sorted(n for n in names if n.lower() in SEEDS)
    facts["DEVICE"] = sorted(n for n in names if n.lower() == "device")
    made.said.append(
        f"Each trial's seed goes into {' and '.join(facts['SEED'])}, and is added to seeds written into calls."
        if facts["SEED"]
        else "No setting is called seed: each trial's is added to what torch, numpy and random are seeded with."
    )
    _tokens(made, facts, sources, script, known)
    if context is None:
        made.problems.append(
            f"The length of a window was not found (no setting such as block_size): write context in {GENOME_FILE}."
        )
    return Found(facts, known[context] if context else None)


def _length(
    made: Draft, sources: dict[str, str], known: dict[str, Any], context: str | None
) -> dict[str, Any]:
    """LENGTH and PER_STEP: by what a script knows when to end, and what a step of it takes."""
    whole, steps, batch = _first(WHOLE, known), _first(STEPS, known), _first(BATCH, known)
    if whole:
        made.said.append(f"Its length is the setting {whole}, in tokens.")
        return {"LENGTH": [whole], "PER_STEP": []}
    if steps is None:
        epochs = _first(EPOCHS, known)
        where = _where(epochs, sources) if epochs else ""
        why = (
            f" ({where} counts epochs)" if epochs else f" (none is called {', '.join(STEPS[:3])} or the like)"
        )
        made.problems.append(
            f"No setting ends the training after a number of steps{why}: give the script one, and its name to LENGTH "
            f"in {ADAPTER}, line {_line_of('LENGTH')}."
        )
        return {"LENGTH": [], "PER_STEP": []}
    same = [
        n for n, v in known.items() if type(v) is int and v == known[steps] and n != steps and _of_length(n)
    ]
    length = [steps, *same]
    accumulated = _first(ACCUMULATED, known)
    per_step = [name for name in (batch, context, accumulated) if name]
    if batch is None:
        made.problems.append(
            "The windows of a step were not found (no setting such as batch_size): write its name to PER_STEP in "
            f"{ADAPTER}, line {_line_of('PER_STEP')}."
        )
    tokens = f"{' x '.join(per_step)} tokens each"
    made.said.append(
        f"Its length is {steps}, in steps of {tokens}" + (f"; {', '.join(same)} follows it." if same else ".")
    )
    return {"LENGTH": length, "PER_STEP": per_step}


def _of_length(name: str) -> bool:
    """Whether a setting of the same value as the length is one that follows it: lr_decay_iters, decay_steps."""
    return bool(re.search(r"iter|step|decay|anneal|cosine", name.lower())) and name.lower() not in (
        *RARE,
        *FEW,
    )


def _where(name: str | None, sources: Mapping[str, str]) -> str:
    for path, source in sources.items():
        for one in adapter.settings_in(source, path):
            if one.name == name:
                return f"{path}, line {one.value.lineno}"
    return ""


def _tokens(
    made: Draft, facts: dict[str, Any], sources: dict[str, str], script: str, known: dict[str, Any]
) -> None:
    """TOKENS and META, from the paths that the script opens."""
    places = paths_in.paths(sources, script, known)
    facts["TOKENS"] = {p: _split(p) for p in places if p.endswith(".bin")}
    facts["META"] = [p for p in places if Path(p).name == "meta.pkl"]
    far = [p for p in facts["TOKENS"] if p.startswith("/")]
    if far:
        made.problems.append(
            f"{_line(script, sources, far[0])}reads {far[0]}, which no trial can see: use a path relative to the "
            "folder."
        )
    elif "train" not in facts["TOKENS"].values():
        text = next((p for p in places if p.endswith((".txt", ".npy"))), None)
        what = f"it reads {text}" if text else "no path of a .bin file stands in it"
        made.problems.append(
            f"Where {script} reads its training tokens was not found ({what}): a trial has uint16 tokens, as "
            f"nanoGPT's train.bin; write the path to TOKENS in {ADAPTER}, line {_line_of('TOKENS')}, as "
            '{"data/train.bin": "train"}.'
        )
    else:
        made.said.append(
            f"It finds a trial's tokens at {', '.join(facts['TOKENS'])}; never the real validation split."
        )


def _line(script: str, sources: Mapping[str, str], text: str) -> str:
    for number, line in enumerate(sources[script].splitlines(), start=1):
        if text.rpartition("/")[2] in line or text.rpartition("/")[0] in line:
            return f"{script}, line {number} "
    return f"{script} "


def _line_of(fact: str) -> int:
    """The line of the adapter at which a fact stands."""
    lines = Path(adapter.__file__).read_text(encoding="utf-8").splitlines()
    return next(
        number for number, line in enumerate(lines, start=1) if line.startswith((f"{fact}:", f"{fact} ="))
    )


def _split(path: str) -> str:
    name = Path(path).name.lower()
    return "val" if any(word in name for word in ("val", "test", "dev", "eval")) else "train"


def _their_tokens(made: Draft, folder: Path, tokens: Mapping[str, str]) -> None:
    """The folder's own tokens, where both splits are there."""
    found = {split: folder / path for path, split in tokens.items() if (folder / path).is_file()}
    made.train, made.val = (found.get("train"), found.get("val")) if len(found) == 2 else (None, None)


def _place(commit: str, folder: str, changed: list[str]) -> str:
    """Where it came from, in a sentence."""
    if commit:
        return f"It came from {folder}, commit {commit[:10]}: darwin export --patch applies to that."
    if changed:
        return (
            f"It came from {folder}, where {', '.join(changed[:4])} is not as committed: a patch will apply to the "
            "folder as it is now, and to no commit of it."
        )
    return f"It came from {folder}, no git repository: a patch will apply to the folder as it is now."


def _adapter(facts: Mapping[str, Any]) -> str:
    """The adapter's text with its facts written in; what is missing is marked."""
    text = Path(adapter.__file__).read_text(encoding="utf-8")
    lines = []
    for line in text.splitlines():
        name = re.match(r"([A-Z_]+)(?::|\s=)", line)
        if name and name[1] in facts:
            missing = name[1] in ("LENGTH", "TOKENS") and not facts[name[1]]
            value = json.dumps(facts[name[1]], ensure_ascii=False).replace("false", "False")
            line = f"{line.partition(' =')[0]} = {value}" + ("  # EDIT: not found" if missing else "")
        lines.append(line)
    return "\n".join(lines) + "\n"


def _contract(found: Found, evolvable: list[str]) -> str:
    """genome.toml."""
    facts = found.facts
    fixed = [*facts["LENGTH"], *facts["SEED"], *facts["DEVICE"], *facts["ALWAYS"]]
    context = str(found.context) if found.context else "64  # EDIT: not found; tokens of a window"
    return f"""# What darwin may assume about this script; drafted by darwin init --from.

[genome]
# the files that may be rewritten
files = {json.dumps(evolvable)}
# how one training run is started; {ADAPTER} starts {facts["SCRIPT"]}
train = "python {ADAPTER} --data={{data}} --out={{out}} --seed={{seed}} --tokens={{tokens}} --device={{device}}"
# settings that a trial gives a value of its own: to rewrite them changes nothing
fixed = {json.dumps(list(dict.fromkeys(fixed)))}

[model]
# (checkpoint path, device) -> callable: int64 tokens (B, T) -> float logits (B, T, V)
load = "{Path(ADAPTER).stem}:load"
# judged window length in tokens, fixed for the whole evolution
context = {context}

[data]
# .bin files of uint16 tokens
kind = "tokens"
"""
