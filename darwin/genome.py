"""A genome's files: which of them may be rewritten, as text."""

from __future__ import annotations

from collections.abc import Mapping

from darwin.lineage import text_files
from darwin.sandbox import Contract


def evolvable(files: Mapping[str, bytes]) -> dict[str, str]:
    """The sources of a genome that its contract allows to be rewritten, as text."""
    contract = Contract.parse(files["genome.toml"].decode())
    return text_files({path: files[path] for path in contract.files})
