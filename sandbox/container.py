"""One hardened container and the channel to the program in it. Trials and agents are both run like this.

No network, a read-only root, size-bounded memory file systems for all that can be written, no capability, no
new privilege, the engine's own seccomp profile, bounds on processes, memory (and no swap) and CPUs, a user who
is not root, an init, and nothing kept of what is printed.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, DockerException
from docker.types import DeviceRequest, Ulimit

from darwin.sandbox import engine
from darwin.sandbox.errors import BoxLost, EngineError
from darwin.sandbox.inside.frames import Channel, Closed, Late, Malformed
from darwin.sandbox.limits import MiB

USER = 10001  # uid and gid, as Dockerfile.agent makes it
_SEND_SECONDS = 60.0  # a program that takes nothing for so long has been stopped
_SAMPLE_SECONDS = 1.0  # between two looks at the bill of a container that says nothing
_WORDS = 2000  # bytes of standard error that are kept
_NO_SYSTEM_V = {"kernel.shmmni": "0", "kernel.msgmni": "0", "kernel.sem": "0 0 0 0"}  # would outlive a phase
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Spec:
    """What to run and within which bounds (bytes; processes count threads; CPUs may be a fraction).

    ``folders`` are the memory file systems that can be written, path to bytes; ``mounts`` folders of the host,
    path there to path inside: the gateway's socket folder and nothing else. ``home`` holds the user's folders,
    ``where`` is where the command starts, ``device`` a GPU's id.
    """

    image: str
    command: tuple[str, ...]
    folders: Mapping[str, int]
    memory_bytes: int
    processes: int
    frame_bytes: int
    cpus: float = 1.0
    shm_bytes: int = 64 * MiB
    entries: int = 10_000
    home: str = "/tmp"
    where: str = "/"
    runtime: str = ""
    device: str = ""
    mounts: Mapping[str, str] = field(default_factory=dict)


class Container:
    """A running container. One thread talks to it; any thread may close it. Raises ``EngineError`` at the start."""

    def __init__(self, client: Any, spec: Spec, name: str, labels: Mapping[str, str]) -> None:
        self.name, self.device = name, spec.device
        self.closed = False
        self._client = client
        self._talking, self._closing = threading.Lock(), threading.Lock()
        self._cpu_seconds = 0.0
        self.id = _create(client, spec, name, dict(labels))
        with contextlib.ExitStack() as undo:
            undo.callback(engine.remove, client, self.id)
            try:
                self._socket = undo.enter_context(_attach(client, self.id))
                self._channel = _Attached(self._socket.fileno(), spec.frame_bytes)
                client.start(self.id)
                self._bill = _bill(client.inspect_container(self.id)["State"]["Pid"])
            except (DockerException, requests.RequestException, OSError) as error:
                raise _refused(error, spec) from None
            undo.pop_all()

    def rename(self, name: str) -> None:
        """Give it another name; of two darwins with one workspace name, the second adds its number."""
        for attempt in (name, f"{name}-{os.getpid()}"):
            with contextlib.suppress(APIError):
                self._client.rename(self.id, attempt)
                self.name = attempt
                return

    def send(self, header: dict[str, Any], payload: bytes | memoryview = b"") -> None:
        """Send one frame; raises ``BoxLost``."""
        with self._talk():
            self._channel.send(header, payload, _SEND_SECONDS)

    def receive(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """The next frame within ``timeout`` seconds; raises ``BoxLost``."""
        until = time.monotonic() + timeout
        with self._talk():
            while not self._channel.something_within(min(_SAMPLE_SECONDS, until - time.monotonic())):
                self.cpu_seconds()
                if time.monotonic() >= until:
                    raise Late
            header, payload = self._channel.receive(max(0.0, until - time.monotonic()))
        return header, bytes(payload)

    def cpu_seconds(self) -> float:
        """CPU seconds that the kernel bills the container's group for; the last figure once it has ended."""
        if not self.closed:
            found = 0.0
            with contextlib.suppress(
                OSError, ValueError, KeyError, DockerException, requests.RequestException
            ):
                found = _read_bill(self._bill) if self._bill else self._asked_bill()
            self._cpu_seconds = max(self._cpu_seconds, found)
        return self._cpu_seconds

    def _asked_bill(self) -> float:
        """The same from the engine, where this machine's groups are not to be seen (Docker Desktop)."""
        found = self._client.stats(self.id, stream=False, one_shot=True)
        return float(found["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

    def close(self) -> None:
        """Kill and remove it; harmless the second time."""
        with self._closing:
            if self.closed:
                return
            self.cpu_seconds()
            self.closed = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever waits, and keeps the number
            try:
                engine.remove(self._client, self.id)
            finally:
                with self._talking:
                    self._socket.close()

    def is_there(self) -> bool:
        """Whether it still runs."""
        with contextlib.suppress(DockerException, requests.RequestException):
            return bool(self._client.inspect_container(self.id)["State"]["Running"])
        return False

    @contextlib.contextmanager
    def _talk(self) -> Iterator[None]:
        with self._talking:
            if self.closed:
                raise BoxLost(f"The container {self.name} was closed.")
            try:
                yield
            except Late:
                raise BoxLost(f"The container {self.name} does not answer.", late=True) from None
            except (Closed, Malformed) as error:
                raise self._lost(error) from None

    def _lost(self, error: Exception) -> BoxLost:
        """Why it is lost: the kernel's word first, then its own last words."""
        if not self.closed:
            with contextlib.suppress(DockerException, requests.RequestException):
                state = self._client.inspect_container(self.id)["State"]
                if state["OOMKilled"]:
                    why = "out of memory, as the kernel says"
                    return BoxLost(f"What ran in {self.name} is lost: {why}.", out_of_memory=True)
        words = self._channel.words.decode(errors="replace").strip().rpartition("\n")[2]
        return BoxLost(f"What ran in {self.name} is lost: {words or error}")


class _Attached(Channel):
    """A channel over an engine's attach socket, on which both outputs come in turn, in pieces.

    A piece has a head of 8 bytes: 1 or 2 for the output, three zeros, its size. Standard output is the channel;
    of standard error the last bytes are kept in ``words``.
    """

    def __init__(self, fd: int, max_payload: int) -> None:
        super().__init__(fd, fd, max_payload)
        self.words = b""
        self._left = 0
        self._readable = select.poll()
        self._readable.register(fd, select.POLLIN)

    def something_within(self, seconds: float) -> bool:
        """Whether something has come, or the end, within so many seconds."""
        return bool(self._readable.poll(max(0.0, seconds) * 1000))

    def _exactly(self, size: int, until: float | None) -> bytearray:
        whole = bytearray(size)
        have = 0
        while have < size:
            if not self._left:
                self._next_piece(until)
                continue
            part = super()._exactly(min(self._left, size - have), until)
            whole[have : have + len(part)] = part
            have += len(part)
            self._left -= len(part)
        return whole

    def _next_piece(self, until: float | None) -> None:
        head = super()._exactly(8, until)
        size = int.from_bytes(head[4:], "big")
        if head[0] == 1:
            self._left = size
        elif size > self._max_payload:
            raise Malformed(f"a piece of {size} bytes is over its bound")
        else:
            self.words = (self.words + bytes(super()._exactly(size, until)))[-_WORDS:]


def _create(client: Any, spec: Spec, name: str, labels: dict[str, str]) -> str:
    """Create it under the name, or with something behind it where that is taken: this process' number, else any."""
    own = f"uid={USER},gid={USER},mode=0700,nr_inodes={spec.entries + 1000}"
    host = client.create_host_config(
        network_mode="none",
        ipc_mode="private",
        read_only=True,
        tmpfs={path: f"rw,noexec,nosuid,nodev,size={size},{own}" for path, size in spec.folders.items()},
        shm_size=spec.shm_bytes,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        sysctls=None if spec.runtime else _NO_SYSTEM_V,
        pids_limit=spec.processes,
        mem_limit=spec.memory_bytes,
        memswap_limit=spec.memory_bytes,
        nano_cpus=int(spec.cpus * 1e9),
        ulimits=[Ulimit(name="core", soft=0, hard=0)],
        init=True,
        log_config={"Type": "none"},
        runtime=spec.runtime or None,
        device_requests=[DeviceRequest(device_ids=[spec.device], capabilities=[["gpu"]])]
        if spec.device
        else None,
        binds=[f"{outside}:{inside}" for outside, inside in spec.mounts.items()],
    )
    names = (name, f"{name}-{os.getpid()}", f"{name}-{uuid.uuid4().hex[:8]}")
    for attempt in names:
        try:
            made = client.create_container(
                spec.image,
                list(spec.command),
                name=attempt,
                user=f"{USER}:{USER}",
                environment={**_ENVIRONMENT, "HOME": f"{spec.home}/home", "TMPDIR": f"{spec.home}/tmp"},
                labels=labels,
                host_config=host,
                working_dir=spec.where,
                stdin_open=True,
                use_config_proxy=False,  # else the caller's proxies, with their passwords, go in
            )
            return str(made["Id"])
        except (DockerException, requests.RequestException) as error:
            if attempt == names[-1] or "already in use" not in str(error):
                raise _refused(error, spec) from None
    raise AssertionError


def _attach(client: Any, container: str) -> socket.socket:
    """A socket to a container's inputs and outputs. Attached before the start, so that nothing is missed."""
    params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    attached = client.attach_socket(container, params=params)
    own = socket.socket(
        fileno=os.dup(attached.fileno())
    )  # the client's wrappings go, and close what is theirs
    raw = getattr(attached, "_sock", attached)
    attached._response.close()
    raw.close()
    return own


def require_gpus(client: Any, gpus: tuple[str, ...]) -> None:
    """Raise ``EngineError`` if the engine cannot give devices to containers; tried with any image it has."""
    here = [found["Id"] for found in client.images()]
    for gpu in gpus if here else ():
        spec = Spec(here[0], ("true",), {}, 64 * MiB, 16, MiB, device=gpu)
        try:
            Container(client, spec, "darwin-gpu", engine.labels("", "doctor")).close()
        except EngineError as error:
            if "GPU runtime" in str(error):  # any other trouble is that image's
                raise


def _refused(error: Exception, spec: Spec) -> EngineError:
    """What the engine said no to, as one sentence."""
    said = engine.explained(error)
    if spec.device and ("device driver" in said or "nvidia" in said.lower()):
        return EngineError(
            f"--gpus {spec.device} needs a GPU runtime, and the Docker engine has none: install the NVIDIA "
            "Container Toolkit, or leave --gpus out."
        )
    if spec.runtime and "runtime" in said.lower():
        return EngineError(
            f'The Docker engine knows no runtime "{spec.runtime}" (docker info lists them): {said}.'
        )
    if "no space left" in said.lower():
        return EngineError(
            "The Docker engine has no disk left for a container. Free some: docker system prune"
        )
    if "No such image" in said:
        return EngineError(f"The image {spec.image} is gone. Build it again: darwin image build")
    return EngineError(f"A container cannot be started: {said}.")


def _bill(pid: int) -> Path | None:
    """The file in which the kernel keeps the CPU time of a process' control group; None if it is not to be seen."""
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "cpuacct" in controllers.split(","):
                for folder in (controllers, "cpuacct"):
                    file = root / folder / path.lstrip("/") / "cpuacct.usage"
                    if file.is_file():
                        return file
            file = root / path.lstrip("/") / "cpu.stat"
            if not controllers and path != "/" and file.is_file():
                return file
    return None


def _read_bill(file: Path) -> float:
    text = file.read_text()
    if file.name == "cpuacct.usage":
        return int(text) / 1e9
    return int(text.split("usage_usec", 1)[1].split()[0]) / 1e6
