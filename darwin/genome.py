"""A genome's files: which of them may be rewritten, as text; and the contract with more of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from darwin.errors import UsageError
from darwin.lineage import GENOME_FILE, text_files
from darwin.sandbox import Contract
from darwin.sandbox.errors import ContractError

NEW_FILE = b'"""A file of its own; nothing uses it yet."""\n'
_FILES = re.compile(r"^(files\s*=\s*\[[^\]]*?)(,?\s*)\]", re.MULTILINE)


def evolvable(files: Mapping[str, bytes]) -> dict[str, str]:
    """The sources of a genome that its contract allows to be rewritten, as text."""
    contract = Contract.parse(files[GENOME_FILE].decode())
    return text_files({path: files[path] for path in contract.files})


def extended(files: Mapping[str, bytes], names: Iterable[str]) -> dict[str, bytes]:
    """The genome whose contract names these files too; those that are not there are there with a docstring alone.

    Raises:
        UsageError: its genome.toml is written so that no name can be added safely.
    """
    whole = dict(files)
    for name in names:
        whole[GENOME_FILE] = _naming(whole[GENOME_FILE].decode(), name).encode()
        whole.setdefault(name, NEW_FILE)
    return whole


def alike(files: Mapping[str, bytes], other: Mapping[str, bytes]) -> dict[str, bytes]:
    """The genome with the files that another one's contract names beside its own."""
    return extended(files, Contract.parse(other[GENOME_FILE].decode()).files)


def _naming(text: str, name: str) -> str:
    """The text of a genome.toml that names one more file, and says nothing else that is new."""
    before = Contract.parse(text)
    if name in before.files:
        return text
    changed = _FILES.sub(lambda found: f'{found[1]}, "{name}"]', text, count=1)
    if Contract.parse(changed) != replace(before, files=(*before.files, name)):
        raise UsageError(
            f"{GENOME_FILE} is written so that {name} cannot be added to its files safely. Add it by hand."
        )
    return changed


def only_names_more(before: str, after: str, allowed: Iterable[str]) -> bool:
    """Whether a genome.toml is another one with allowed files added, and not a byte besides."""
    try:
        had = Contract.parse(before).files
        added = [name for name in Contract.parse(after).files if name not in had]
        for name in added:
            before = _naming(before, name)
    except (ContractError, UsageError):
        return False
    return before == after and set(added) <= set(allowed)
