"""A script becomes an individual: a commit that tells its story, and the record that goes with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from darwin.agents import fingerprint
from darwin.genome import evolvable
from darwin.lineage import Lineage
from darwin.memory.records import Individual


def committed(
    lineage: Lineage,
    files: Mapping[str, bytes],
    parents: Sequence[Individual],
    *,
    signature: str | None = None,
    body: Iterable[str] = (),
    **facts: Any,
) -> Individual:
    """Make the commit of a genome's files, and its individual; neither is in memory nor has a ref yet.

    Args:
        signature: the git identity of the person who wrote it; else its author is the agent in ``facts``, if any.
        body: paragraphs of the commit's message under its subject.
        facts: what else the record says (``Individual``); its operator, generation, owner and techniques are the
            commit's trailers too.
    """
    commit, tree = lineage.commit(
        files,
        [parent.commit for parent in parents],
        ordinal=facts["ordinal"],
        author=None if signature else facts.get("author"),
        signature=signature,
        subject=facts["subject"],
        body=body,
        trailers=[
            ("Darwin-Operator", facts["operator"]),
            *([("Darwin-Owner", facts["owner"])] if facts.get("owner") else []),
            ("Darwin-Generation", str(facts["generation"])),
            *(("Darwin-Technique", technique) for technique in facts.get("techniques", ())),
        ],
    )
    code = fingerprint(evolvable(files))
    return Individual(commit=commit, tree=tree, code=code, parents=tuple(p.id for p in parents), **facts)
