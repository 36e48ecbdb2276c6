"""The red team: what each cheat tries, what it would win were it not caught, and what catches it.

    .venv/bin/python bench/redteam.py [docker|process] [NAME ...]

Every cheat of tests/redteam is run for real as it is, and once more with the audits off or with what it was after
in its hands. The gain is of perplexity against the unedited base on the same seed, for a shrunk base and language:
it says what the hole would be worth there, no more. Exits 1 if one is not caught. About 130 CPU seconds.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from darwin.sandbox import ProcessSandbox
from darwin.sandbox.box import Sandbox
from tests.engine import docker_sandbox
from tests.redteam.arena import Arena
from tests.redteam.cheats import CHEATS
from tests.spare import SharedServer


def main(provider: str = "docker", *names: str) -> None:
    confined: Sandbox = docker_sandbox() if provider == "docker" else ProcessSandbox()
    sandbox = SharedServer(confined)
    missed = 0
    with tempfile.TemporaryDirectory() as folder, closing(sandbox):
        arena = Arena(sandbox, Path(folder))
        print(
            f"| cheat | what it tries | had it not been caught | in `{provider}` |\n| --- | --- | --- | --- |"
        )
        for name in names or CHEATS:
            cheat = CHEATS[name]
            found = arena.attempt(cheat)
            stopped = provider == "docker" or cheat.process
            missed += found.by is None and stopped
            gain = "no run" if found.gain is None else f"{found.gain:+.1%}"
            told = (found.by or ("**not caught**" if stopped else "not stopped")).replace("|", "/")
            print(
                f"| {name} | {cheat.tries} | {gain}{' (a claim)' * (cheat.claims is not None)} | {told} |",
                flush=True,
            )
    sys.exit(missed > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
