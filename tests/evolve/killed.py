"""Runs an evolution over the laboratory and kills itself, hard, just before the n-th git transaction or file.

python -m tests.evolve.killed WORKSPACE DATA GENERATIONS N
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from darwin.loop import evolve
from darwin.memory import memory as memory_module
from darwin.memory import store as store_module
from tests.evolve.laboratory import start


def main() -> None:
    folder, data, generations, fuse = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    left = [fuse]

    def burning(function):
        def burn(*arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return burn

    memory_module.move_refs = burning(memory_module.move_refs)
    store_module.write_atomically = burning(store_module.write_atomically)
    evolve(start(folder, data, agents="rules:3"), generations)


if __name__ == "__main__":
    main()
