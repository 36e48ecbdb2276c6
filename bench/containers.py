"""What a container costs: the same trials under ``process`` and under ``docker``, in turn.

    python bench/containers.py [--rounds 5] [--tokens 260000]

Prints JSON, and a sentence with the bars (1.10 of CPU seconds, 0.3 s of the host), on which the exit code depends:
the paired ratio of CPU seconds (what a trial bills, all phases and its server's start; 260,000 tokens are what the
default budget of 20 s buys the base here), the CPU that the host itself spends on a Docker trial, wall seconds,
whether the losses are equal, and the size of the image.
The host's part is this process' own, that of the container's shim until it is gone (runc's calls are its
children), and an equal share of dockerd's and containerd's among all containers that were made meanwhile, so
that others may use the engine at the same time. Needs a Docker engine, and data (darwin prepare).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from darwin.begin import ANCESTOR
from darwin.confinement import recipe
from darwin.lineage import read_genome
from darwin.memory.records import Trial
from darwin.prepare import prepare
from darwin.sandbox import Dataset, Job, Limits, ProcessSandbox, engine, image
from darwin.sandbox.box import Sandbox
from darwin.sandbox.docker import DockerSandbox
from darwin.sandbox.trials import run_trial

ENGINE = ("dockerd", "containerd")
RATIO, HOST_SECONDS = 1.10, 0.3
"""Bars: CPU seconds of a trial over those under ``process``, and the host's own on a Docker trial."""


def engine_seconds() -> float:
    """CPU seconds of dockerd and containerd and what they have reaped, so far."""
    total = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] in ENGINE:
            times = process.info["cpu_times"]
            total += times.user + times.system + times.children_user + times.children_system
    return total


class Watched:
    """A provider that notes what the shim of each container has cost when it is gone."""

    def __init__(self, provider: DockerSandbox) -> None:
        self._provider, self.name, self.shim_seconds = provider, provider.name, 0.0
        self.watching_seconds = 0.0

    def open(self, label: str, limits: Limits) -> Any:
        """Open a box whose ``close`` watches the shim to its end."""
        box = self._provider.open(label, limits)
        before = time.thread_time()
        shims = [
            process
            for process in psutil.process_iter(["cmdline"])
            if box.container in (process.info["cmdline"] or []) and "shim" in process.name()
        ]
        self.watching_seconds = time.thread_time() - before
        close = box.close

        def watched_close() -> None:
            watch = threading.Thread(target=self._watch, args=(shims,))
            watch.start()
            close()
            watch.join(2)

        box.close = watched_close  # type: ignore[method-assign]
        return box

    def close(self) -> None:
        """Close the provider."""
        self._provider.close()

    def _watch(self, shims: list[psutil.Process]) -> None:
        self.shim_seconds = 0.0
        try:
            while shims:
                times = shims[0].cpu_times()
                self.shim_seconds = times.user + times.system + times.children_user + times.children_system
                time.sleep(0.005)
        except psutil.Error:
            pass
        self.watching_seconds += time.thread_time()


def own_seconds() -> float:
    """CPU seconds of this process, without its children."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def one(sandbox: Sandbox, job: Job, dataset: Dataset) -> tuple[Trial, float, float]:
    """A trial, this process' CPU seconds for it, and wall seconds."""
    before, started = own_seconds(), time.monotonic()
    trial = run_trial(job, dataset, sandbox, 1e11, Limits())
    assert trial.loss is not None, trial.error
    return trial, own_seconds() - before, time.monotonic() - started


def main() -> None:
    """Pairs of trials, docker first and last in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=260_000)
    parser.add_argument("--text", type=Path, default=None)
    options = parser.parse_args()
    dataset = Dataset.load(prepare(options.text))
    files = read_genome(ANCESTOR)
    rows: list[dict[str, Any]] = []
    with closing(engine.connect()) as client:
        tag = image.build(client, recipe(), print)
        watched = Watched(DockerSandbox(tag, "bench", client=client))
        with closing(watched) as docker, closing(ProcessSandbox()) as process:
            since, engine_before = time.time(), engine_seconds()
            providers: list[Sandbox] = [docker, process]
            for number in range(options.rounds + 1):  # the first warms caches and starts the first spare
                job = Job(f"bench-{number}", files, number, options.tokens, f"{options.tokens}tok")
                row: dict[str, Any] = {}
                for provider in providers if number % 2 else providers[::-1]:
                    trial, own, wall = one(provider, job, dataset)
                    row[provider.name] = {
                        "cpu_seconds": trial.cpu_seconds, "train_seconds": trial.seconds, "loss": trial.loss,
                        "darwin_seconds": own - (watched.watching_seconds if provider is docker else 0.0),
                        "wall_seconds": wall,
                        "shim_seconds": watched.shim_seconds if provider is docker else 0.0,
                    }  # fmt: skip
                rows.append(row)
            engine_used = engine_seconds() - engine_before
            filters = {"type": "container", "event": "create"}
            made = sum(
                1 for _ in client.events(since=int(since), until=int(time.time()) + 1, filters=filters)
            )
        size = image.size(client, tag)
    rows = rows[1:]

    def middle(provider: str, key: str) -> float:
        return round(statistics.median(row[provider][key] for row in rows), 3)

    ratios = [row["docker"]["cpu_seconds"] / row["process"]["cpu_seconds"] for row in rows]
    extra = [
        row["docker"]["darwin_seconds"] + row["docker"]["shim_seconds"] + engine_used / made for row in rows
    ]
    ratio, host = statistics.median(ratios), statistics.median(extra)
    equal = all(row["docker"]["loss"] == row["process"]["loss"] for row in rows)
    print(
        json.dumps(
            {
                "rounds": len(rows),
                "tokens": options.tokens,
                "cpu_ratio": [round(ratio, 4) for ratio in sorted(ratios)],
                "cpu_ratio_median": round(ratio, 4),
                "docker": {k: middle("docker", k) for k in rows[0]["docker"]},
                "process": {k: middle("process", k) for k in rows[0]["process"]},
                "engine_seconds_per_container": round(engine_used / made, 3),
                "containers_made_meanwhile": made,
                "host_seconds_of_a_docker_trial": round(host, 3),
                "losses_equal": equal,
                "image_gb": round(size / 1e9, 3),
            },
            indent=1,
        )
    )
    print(
        f"A Docker trial costs {ratio:.3f} times the CPU of one under process (bar {RATIO}) and {host:.2f} s of the "
        f"host's (bar {HOST_SECONDS}); losses are {'equal' if equal else 'NOT equal'}."
    )
    sys.exit(ratio > RATIO or host >= HOST_SECONDS or not equal)


if __name__ == "__main__":
    main()
