"""The text that knowledge is measured on: torch's own layers and distributions, half English, half Python.

It is unlike the default text (plays in verse), so that what an agent knows beforehand does not come from the text it is
tested on, and constraints.txt pins it: everyone who installs darwin with it has it, without a download.
"""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

SOURCES = ("nn/modules/*.py", "distributions/*.py")
BLOCK = 5_000  # characters, about; blocks are shuffled, so that training and validation split hold all files


def text() -> str:
    """About 1.1 M ASCII characters; the same wherever torch is the same."""
    torch = find_spec("torch")
    assert torch is not None and torch.origin is not None
    root = Path(torch.origin).parent
    files = [path for pattern in SOURCES for path in sorted(root.glob(pattern))]
    whole = "".join(path.read_text(encoding="utf-8") for path in files)
    blocks, block = [], ""
    for line in whole.encode("ascii", "ignore").decode().splitlines(keepends=True):
        block += line
        if len(block) >= BLOCK:
            blocks.append(block)
            block = ""
    random.Random(1).shuffle(blocks)  # what is left over after the last whole block is dropped
    return "".join(blocks)
