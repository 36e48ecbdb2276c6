"""``darwin prepare``."""

from __future__ import annotations

import json

from darwin.cli import options
from darwin.prepare import prepare as prepare_data
from darwin.screen import Screen


def prepare(text: options.Text = None, data: options.Data = None) -> None:
    """Prepare the training data; evolve does this by itself.

    \b
    Examples:
      darwin prepare
      darwin prepare --text my_corpus.txt
    """
    folder = prepare_data(text, data)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    counts = ", ".join(f"{split} {count:,}" for split, count in meta["tokens"].items())
    Screen().say(f"{folder}: {meta['name']}, {meta['vocab_size']} symbols, tokens: {counts}.")
