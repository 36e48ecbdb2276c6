"""Everything that darwin's running costs, in one command: a trial, a second worker, containers, the gateway, a history.

    .venv/bin/python bench/all.py [NAME ...]        trial, parallel, containers, gateway, history

One after the other, on a machine that should be idle. What each prints goes to bench/results/NAME.txt as well, and the
table at the end to bench/results/table.md. Exits 1 where a bar is missed or a bench fails; containers are left out
where no Docker engine answers, and that is said. About 40 minutes on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from darwin.sandbox import engine
from darwin.sandbox.errors import EngineError

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BENCHES = {
    "trial": ["trial.py"],
    "parallel": ["parallel.py"],
    "containers": ["containers.py"],
    "gateway": ["gateway.py"],
    "history": ["history.py", "10", "100", "1000"],
}


def missing(name: str) -> str | None:
    """Why a bench cannot be run here."""
    if name != "containers":
        return None
    try:
        engine.connect().close()
    except EngineError as error:
        return str(error)
    return None


def run(name: str) -> tuple[int, list[str]]:
    """The exit code of a bench and the lines it printed, which are shown and kept as they come."""
    script, *words = BENCHES[name]
    command = [sys.executable, "-u", str(HERE / script), *words]
    lines = []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    with process.stdout, (RESULTS / f"{name}.txt").open("w") as kept:
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.write(line)
            lines.append(line.rstrip())
    return process.wait(), lines


def row(name: str) -> tuple[bool, str]:
    """Whether a bench kept its bars, and its line of the table; the last line it prints is its figure."""
    print(f"== {name}", flush=True)
    if why := missing(name):
        (RESULTS / f"{name}.txt").write_text(f"{why}\n")
        return True, f"| {name} | not measured: {why} | |"
    code, lines = run(name)
    last = lines[-1] if lines else "it printed nothing"
    return code == 0, f"| {name} | {last} | {'yes' if code == 0 else f'no (exit {code})'} |"


def main(names: list[str]) -> None:
    if unknown := [name for name in names if name not in BENCHES]:
        sys.exit(f'There is no bench "{unknown[0]}"; there are {", ".join(BENCHES)}.')
    RESULTS.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    rows = [row(name) for name in names or BENCHES]
    table = ["| bench | figure | bars kept |", "| --- | --- | --- |", *(line for _, line in rows)]
    table.append(f"\n{os.cpu_count()} cores, load {load:.1f} at the start.")
    (RESULTS / "table.md").write_text("\n".join(table) + "\n")
    print("\n" + "\n".join(table))
    sys.exit(not all(kept for kept, _ in rows))


if __name__ == "__main__":
    main(sys.argv[1:])
