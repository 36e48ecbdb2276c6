"""Measure random sets of techniques and settings: what the surrogate of bench/search is fitted to.

    .venv/bin/python bench/search/measure.py [SETS] [FILE]

Appends a JSON line a training run to bench/search/sets.jsonl and goes on where it stopped: run it again at any time.
``techniques`` and ``settings`` ({name: [from, to]}) say what was changed in the base; ``horizon`` is short or long (six
times the tokens), ``tokens`` the training tokens: those of 10 s of the base, less what the techniques' prices take;
``loss`` is nats per token over the whole validation split (null: it did not train), ``seed`` the trial's,
``cpu_seconds`` all phases'. Sets are drawn from their number, so a longer list begins with a shorter one. The first 250
take about 4,700 CPU seconds on one core.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darwin.agents import edits, settings
from darwin.agents.errors import EditError
from darwin.agents.inside.rules import stepped, trains
from darwin.agents.knowledge import Technique, rivals, techniques
from darwin.begin import ANCESTOR
from darwin.lineage import read_genome, text_files
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, calibrate, evaluate

OUT = Path(__file__).with_name("sets.jsonl")
SETS = 250
SHORT, LONG = 125_000, 750_000
"""Training tokens of the base: what 10 s and 60 s of one quiet core buy."""
LONG_EVERY, AGAIN_EVERY = 16, 50
"""Every so many sets are trained six times as long too, or on a second seed."""
SIZES = range(1, 9)
CONTEXT = 64
NUMBERS = (
    *("learning_rate", "beta1", "beta2", "weight_decay", "grad_clip", "warmup_fraction", "final_fraction"),
    *("batch_size", "init_std", "mlp_ratio", "n_layer"),
)


def drawn(
    number: int, base: dict[str, str]
) -> tuple[dict[str, str], list[Technique], dict[str, tuple[Any, Any]]]:
    """The files, techniques and settings of a set: 1 to 8 techniques that can join, and 0 to 2 settings moved by up to
    four times."""
    chance = random.Random(f"set {number}")
    files, joined, wanted = dict(base), [], chance.choice(SIZES)
    for technique in chance.sample(techniques(), len(techniques())):
        if len(joined) == wanted or rivals([technique.id, *(t.id for t in joined)]):
            continue
        try:
            files = edits.apply(technique.edits, files)
        except EditError:
            continue
        joined.append(technique)
    changed: dict[str, tuple[Any, Any]] = {}
    for name in chance.sample(NUMBERS, chance.choice((0, 0, 1, 2))):
        now = settings.numbers(files)
        if name not in now:
            continue
        file, old = now[name]
        new = stepped(name, old, 2 ** chance.choice((-2, -1.4, -1, -0.5, 0.5, 1, 1.4, 2)))
        if new != old and trains(name, new, {n: v for n, (_, v) in now.items()}, CONTEXT):
            files[file] = settings.change(files[file], name, new)
            changed[name] = (old, new)
    return files, joined, changed


def jobs(sets: int, genome: dict[str, bytes]) -> Iterator[tuple[dict[str, Any], Job]]:
    """What is to be measured, the base first, each with the fields that identify its line."""
    base = {name: text for name, text in text_files(genome).items() if name.endswith(".py")}
    for number in range(-1, sets):
        files, joined, changed = (base, [], {}) if number < 0 else drawn(number, base)
        price = 1 + sum((t.price or 1.0) - 1 for t in joined)
        runs = [("short", SHORT, 1)]
        if number < 0 or number % LONG_EVERY == 0:
            runs.append(("long", LONG, 1))
        if number < 0 or number % AGAIN_EVERY == 0:
            runs.append(("short", SHORT, 2))
        for horizon, tokens, seed in runs:
            key = {
                "set": number,
                "techniques": [t.id for t in joined],
                "settings": {name: list(pair) for name, pair in changed.items()},
                "horizon": horizon,
                "tokens": round(tokens / price),
                "seed": seed,
            }
            data = {**genome, **{name: text.encode() for name, text in files.items()}}
            yield key, Job(f"set {number}", data, seed, key["tokens"], f"{key['tokens']}tok")


def identity(line: dict[str, Any]) -> str:
    """What makes a line the same run: everything but what was measured."""
    return json.dumps([line[key] for key in ("set", "techniques", "settings", "horizon", "tokens", "seed")])


def main(sets: int = SETS, file: Path = OUT) -> None:
    lines = file.read_text().splitlines() if file.exists() else []
    done = {identity(json.loads(line)) for line in lines}
    dataset, sandbox, limits = Dataset.load(prepare()), ProcessSandbox(), Limits()
    peak = calibrate(sandbox)
    try:
        for key, job in jobs(sets, read_genome(ANCESTOR)):
            if identity(key) in done:
                continue
            ((_, trial),) = evaluate([job], dataset, sandbox, workers=1, peak_flops=peak, limits=limits)
            found = {
                "loss": trial.loss,
                "mfu": trial.mfu,
                "cpu_seconds": trial.cpu_seconds,
                "status": trial.status,
            }
            with file.open("a") as out:
                out.write(json.dumps({**key, **found}) + "\n")
            print(
                f"{job.label}, {key['horizon']}, seed {job.seed}: {trial.loss} ({trial.cpu_seconds} CPU s)",
                flush=True,
            )
    finally:
        sandbox.close()


if __name__ == "__main__":
    main(*(cast(word) for cast, word in zip((int, Path), sys.argv[1:], strict=False)))
