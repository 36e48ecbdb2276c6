"""Granted data sets as ideas: a technique that trains on one of them beside, with its edit for the base script."""

from __future__ import annotations

from collections.abc import Iterable

from darwin.agents.edits import Edit
from darwin.agents.knowledge import Source, Technique

_LINE = 'tokens = np.memmap(Path(data_dir, "train.bin"), dtype=np.uint16, mode="r")\n'


def mixing(names: Iterable[str]) -> tuple[Technique, ...]:
    """One technique a data set; nothing is known of what it does."""
    return tuple(_technique(name) for name in names)


def _technique(name: str) -> Technique:
    line = f'tokens = np.concatenate([tokens, np.fromfile(Path(data_dir, "{name}.bin"), dtype=np.uint16)])\n'
    return Technique(
        id=f"data-{name.replace('_', '-')}",
        title=f"Train on {name} too",
        family="data",
        source=Source("people who run this", "a granted request", 2026, None),
        changes=f"Train on {name} too",
        short=None,
        long=None,
        price=None,
        conflicts=(),
        body="Text that people granted, beside train.bin.",
        edits=(Edit("train.py", _LINE, _LINE + line),),
    )
