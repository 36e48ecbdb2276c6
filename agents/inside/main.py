"""An agent's program: ``python -m inside.main`` answers tasks on standard input until it ends.

A frame is 4 + 8 bytes of lengths, a JSON header and a payload: here always an empty header and JSON, a task in
and an answer out. Standard library only. It never executes a script that it rewrites.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from typing import Any

from . import chat, rules  # noqa: TID251 (a neighbour by path: nothing of ours is installed in there)

_LENGTHS = struct.Struct(">IQ")
KINDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "rules": rules.choose,
    "openai": chat.converse,
}


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """The answer of the kind of agent that the task names."""
    return KINDS[task["kind"]](task)


def main() -> None:
    """Answer until the host closes the channel."""
    read, write = sys.stdin.buffer, sys.stdout.buffer
    while lengths := read.read(_LENGTHS.size):
        header, size = _LENGTHS.unpack(lengths)
        read.read(header)
        text = json.dumps(answer(json.loads(read.read(size)))).encode()
        write.write(_LENGTHS.pack(2, len(text)) + b"{}" + text)
        write.flush()


if __name__ == "__main__":
    main()
