"""Whether containers would confine as promised: asked of the engine, and tried, not assumed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from darwin.sandbox import engine
from darwin.sandbox.container import Container, Spec
from darwin.sandbox.docker import container_name, memory_bytes
from darwin.sandbox.errors import SandboxError
from darwin.sandbox.limits import GiB, Limits, MiB

OK, WARNING, ERROR = "ok", "warning", "error"

_TRY = """
import json, os, socket, struct, sys
got = [name for name in os.listdir('/sys/class/net') if name != 'lo']
for address in json.loads(sys.argv[1]):
    try:
        socket.create_connection(tuple(address), 2).close()
        got.append('%s:%s' % tuple(address))
    except OSError:
        pass
try:
    socket.getaddrinfo('example.org', 80)
    got.append('DNS')
except OSError:
    pass
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
found = {
    'reached': got,
    'uid': os.getuid(),
    'capabilities': int(status['CapEff'], 16) | int(status['CapBnd'], 16),
    'no_new_privileges': status['NoNewPrivs'].strip() == '1',
    'seccomp': status['Seccomp'].strip() == '2',
    'root_writable': os.access('/', os.W_OK) or os.access('/usr', os.W_OK),
}
text = json.dumps(found).encode()
sys.stdout.buffer.write(struct.pack('>IQ', len(text), 0) + text)
"""


@dataclass(frozen=True)
class Finding:
    """One line of an examination: ``level`` is ok, warning or error; ``remedy`` says what to do, where it is not ok."""

    what: str
    level: str
    text: str
    remedy: str = ""


def examine(client: Any, tag: str | None, runtime: str = "", gpus: tuple[str, ...] = ()) -> Iterator[Finding]:
    """The engine, the bounds it can keep, its GPU runtime, leftovers, and a container that tries to get out.

    ``tag`` is the image to try in, None where it is missing: then nothing is tried.
    """
    version, info = client.version(), client.info()
    kernel = f"kernel {info['KernelVersion']}, cgroup v{info.get('CgroupVersion', '1')}"
    yield Finding("engine", OK, f"Docker {version['Version']} (API {version['ApiVersion']}), {kernel}")
    yield _bounds(info)
    yield _runtimes(info, runtime, gpus)
    yield _leftovers(client)
    if tag is None:
        return
    try:
        yield from _tried(client, tag, runtime)
    except SandboxError as error:
        yield Finding(
            "isolation", ERROR, f"A container that tries to get out could not be run. {error}",
            "See that docker run works here, then darwin doctor again.",
        )  # fmt: skip


def _bounds(info: dict[str, Any]) -> Finding:
    """Which of the bounds the engine can keep; without one of them nothing should run."""
    missing = [
        words
        for key, words in (("MemoryLimit", "memory"), ("PidsLimit", "processes"), ("CpuCfsQuota", "CPU"))
        if not info.get(key)
    ]
    limits = Limits()
    kept = (
        f"a trial may have {memory_bytes(limits) / GiB:.1f} GiB of memory and no swap, {4 * limits.processes} "
        f"processes and threads, 1 CPU, {limits.disk_bytes / GiB:.0f} GiB of files in memory"
    )
    if missing:
        return Finding(
            "limits", ERROR, f"the engine keeps no bound on {', '.join(missing)}",
            "Mount the cgroup controllers of that name, and start the engine again.",
        )  # fmt: skip
    if not info.get("SwapLimit"):
        return Finding(
            "limits", WARNING, f"{kept}; but the kernel does not count swap",
            "Boot with swapaccount=1, or without swap.",
        )  # fmt: skip
    if memory_bytes(limits) > int(info["MemTotal"]):
        return Finding(
            "limits", WARNING, f"{kept}; the machine has {int(info['MemTotal']) / GiB:.1f} GiB in all",
            "Keep to --workers 1, and expect scripts that need much memory to fail.",
        )  # fmt: skip
    return Finding("limits", OK, kept)


def _runtimes(info: dict[str, Any], runtime: str, gpus: tuple[str, ...]) -> Finding:
    known = sorted(name for name in info.get("Runtimes", {}) if "." not in name)
    if runtime and runtime not in known:
        return Finding(
            "runtime", ERROR, f'there is no runtime "{runtime}", only {", ".join(known)}',
            "Install it and name it in the engine's daemon.json, or leave --runtime out.",
        )  # fmt: skip
    gpu = "nvidia" in known
    if gpus and not gpu:
        return Finding(
            "runtime",
            ERROR,
            "there is no GPU runtime",
            "Install the NVIDIA Container Toolkit, or leave --gpus out.",
        )
    return Finding(
        "runtime", OK, f"{runtime or info.get('DefaultRuntime')}; {'a' if gpu else 'no'} GPU runtime"
    )


def _leftovers(client: Any) -> Finding:
    found = list(engine.containers(client))
    left = [one.name for one in found if one.orphan]
    if left:
        return Finding(
            "leftovers", WARNING, f"{len(left)} containers of runs that are gone: {', '.join(left[:5])}",
            "darwin sandbox sweep, or just the next start.",
        )  # fmt: skip
    return Finding("leftovers", OK, f"none; {len(found)} containers of living runs")


def _tried(client: Any, tag: str, runtime: str) -> Iterator[Finding]:
    """A container tries the internet, DNS, and a server that listens on every address of this machine."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        addresses = [("127.0.0.1", port), ("172.17.0.1", port), (_own_address(), port), ("1.1.1.1", 443)]
        spec = Spec(
            image=tag,
            command=("python3", "-s", "-c", _TRY, json.dumps(addresses)),
            folders={"/tmp": MiB},
            memory_bytes=128 * MiB,
            processes=16,
            frame_bytes=MiB,
            runtime=runtime,
        )
        with closing(
            Container(client, spec, container_name("", "doctor"), engine.labels("", "doctor"))
        ) as container:
            found, _ = container.receive(60)
    if found["reached"]:
        yield Finding(
            "network", ERROR, f"a container got out: {', '.join(map(str, found['reached']))}",
            "The engine does not keep --network none; do not run scripts on it.",
        )  # fmt: skip
    else:
        yield Finding(
            "network", OK, "a container tried the internet, DNS and this machine, and reached none of them"
        )
    loose = [
        words
        for wrong, words in (
            (found["uid"] == 0, "it runs as root"),
            (found["capabilities"] != 0, "it has capabilities"),
            (not found["no_new_privileges"], "it may gain privileges"),
            (found["root_writable"], "its root can be written"),
        )
        if wrong
    ]
    if loose:
        yield Finding(
            "hardening", ERROR, f"a container looked at itself: {', '.join(loose)}",
            "The engine does not keep what it was asked for; do not run scripts on it.",
        )  # fmt: skip
    elif not found["seccomp"] and not runtime:
        yield Finding(
            "hardening", WARNING, "no seccomp profile is in force",
            "Use an engine and a kernel with seccomp, or a runtime such as gVisor.",
        )  # fmt: skip
    else:
        yield Finding(
            "hardening", OK, "a container looked at itself: no root, no capability, no new privilege, seccomp, "
            "a read-only root",
        )  # fmt: skip


def _accept(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


def _own_address() -> str:
    """This machine's address on its way out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
