"""``docker``: a box is a container of its own (container.py), for code that nobody vouches for.

A spare waits with torch imported, anonymous until a trial takes it, so that its start is hidden.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import Any

from darwin.sandbox import engine
from darwin.sandbox.container import Container, Spec
from darwin.sandbox.errors import EngineError, SandboxError
from darwin.sandbox.limits import Limits, MiB

SERVER = "/opt/darwin/sandbox/server.py"
_ROOT = "/box"  # the server's own folder; the others that can be written are emptied too
_WRITABLE = ("/tmp", "/dev/shm", "/dev/mqueue")
_TMP_BYTES = 64 * MiB
_SHM_BYTES = 256 * MiB
_SERVER_BYTES = 768 * MiB  # of the server itself: torch, and the pages its children share with it
_OWN_SHARE, _OWN_SECONDS = 0.04, 0.4  # of the server in a phase: measured 1.6 % and 0.04 s
_CPUS = 1.0
_CPUS_BESIDE_A_GPU = 4.0  # to feed it


class DockerSandbox:
    """Boxes as containers (``Sandbox``).

    ``image`` is what image.py built, ``workspace`` a name for people, ``runtime`` one that the engine knows
    (gVisor: runsc), ``gpus`` the ids of devices, one to a trial. What dead owners left is swept at the start
    and at the end. Raises ``EngineError``.
    """

    name = "docker"

    def __init__(
        self,
        image: str,
        workspace: str = "",
        runtime: str = "",
        gpus: tuple[str, ...] = (),
        client: Any = None,
    ) -> None:
        self._own_client = client is None
        self._client = client or engine.connect()
        self._image, self._workspace, self._runtime, self._gpus = image, workspace, runtime, gpus
        self._lock = threading.Lock()
        self._boxes: list[DockerBox] = []
        self._spare: _Spare | None = None
        self._number = 0
        self._closed = False
        self._cpu_seconds = 0.0
        engine.sweep(self._client)

    def open(self, label: str, limits: Limits) -> DockerBox:
        """Take the spare, or start a container; see ``Sandbox.open``."""
        with self._lock:
            if self._closed:
                raise SandboxError("The sandbox was closed.")
            self._number += 1
            name = container_name(self._workspace, label, str(self._number))
            spec = self._spec(limits)
            spare, self._spare = self._spare, None
            container = spare.take(spec) if spare else None
            if container is None:
                container = Container(self._client, spec, name, self._labels())
            else:
                container.rename(name)
            box = DockerBox(container, label)
            self._forget_closed()
            self._boxes.append(box)
            if not self._gpus:  # a spare would need a device, which is a trial's own
                waiting = container_name(self._workspace, "spare", str(self._number))
                self._spare = _Spare(self._client, spec, waiting, self._labels())
            return box

    def use(self, image: str) -> None:
        """Open the boxes that follow from another image; a spare of the old one is thrown away when one is."""
        with self._lock:
            self._image = image

    def cpu_seconds(self) -> float:
        """CPU seconds of all containers so far, spares included."""
        with self._lock:
            self._forget_closed()
            return self._cpu_seconds + sum(box.cpu_seconds() for box in self._boxes)

    def close(self) -> None:
        """Remove every container, the spare too, and what dead owners have left meanwhile."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            spare, self._spare = self._spare, None
            for box in self._boxes:
                box.close()
            self._forget_closed()
            if spare and (container := spare.take(None)):
                container.close()
                self._cpu_seconds += container.cpu_seconds()
            with contextlib.suppress(EngineError):
                engine.sweep(self._client)
            if self._own_client:
                self._client.close()

    def _forget_closed(self) -> None:
        self._cpu_seconds += sum(box.cpu_seconds() for box in self._boxes if box.closed)
        self._boxes = [box for box in self._boxes if not box.closed]

    def _labels(self) -> dict[str, str]:
        return engine.labels(self._workspace, "trial")

    def _spec(self, limits: Limits) -> Spec:
        return Spec(
            image=self._image,
            command=("python3", "-s", "-P", "-B", "-u", SERVER, _ROOT, *_WRITABLE),
            folders={_ROOT: limits.disk_bytes + _TMP_BYTES, "/tmp": _TMP_BYTES},
            memory_bytes=memory_bytes(limits),
            processes=4 * limits.processes,
            frame_bytes=limits.frame_bytes,
            cpus=min(_CPUS_BESIDE_A_GPU, float(os.cpu_count() or 1)) if self._gpus else _CPUS,
            shm_bytes=_SHM_BYTES,
            entries=limits.disk_entries,
            home=_ROOT,
            runtime=self._runtime,
            device=self._free_gpu() if self._gpus else "",
        )

    def _free_gpu(self) -> str:
        taken = [box.device for box in self._boxes if not box.closed]
        for gpu in self._gpus:
            if gpu not in taken:
                return gpu
        raise EngineError(
            f"--gpus {','.join(self._gpus)}: every trial needs a device of its own. Use --workers {len(self._gpus)}."
        )


class DockerBox:
    """One trial's container (``Box``). The bill a phase reports is checked against the kernel's."""

    def __init__(self, container: Container, label: str) -> None:
        self._container = container
        self.label = label
        self.device = container.device
        self._before = 0.0

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._container.closed

    @property
    def container(self) -> str:
        """The engine's id of it."""
        return self._container.id

    def send(self, header: dict[str, Any], payload: bytes | memoryview = b"") -> None:
        """Send one frame; raises ``BoxLost``."""
        self._before = self._container.cpu_seconds()
        self._container.send(header, payload)

    def receive(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        """The next frame within ``timeout`` seconds; raises ``BoxLost``."""
        header, payload = self._container.receive(timeout)
        reported = header.get("cpu_seconds")
        if isinstance(reported, float):
            billed = self._container.cpu_seconds() - self._before
            if billed > (1 + _OWN_SHARE) * reported + _OWN_SECONDS:  # something hid from the server
                header["cpu_seconds"] = billed
        return header, payload

    def cpu_seconds(self) -> float:
        """CPU seconds of everything that ever ran in the container."""
        return self._container.cpu_seconds()

    def close(self) -> None:
        """Kill and remove the container; harmless the second time."""
        self._container.close()


class _Spare:
    """A container being started by a thread, for whoever comes next."""

    def __init__(self, client: Any, spec: Spec, name: str, labels: dict[str, str]) -> None:
        self._spec = spec
        self._container: Container | None = None
        self._thread = threading.Thread(
            target=self._start, args=(client, name, labels), name="spare", daemon=True
        )
        self._thread.start()

    def _start(self, client: Any, name: str, labels: dict[str, str]) -> None:
        with contextlib.suppress(EngineError):  # whoever needs it will hear it from a start of its own
            self._container = Container(client, self._spec, name, labels)

    def take(self, spec: Spec | None) -> Container | None:
        """The container, once, or None if there is none that still runs within these bounds (None: any)."""
        self._thread.join()
        container, self._container = self._container, None
        if container is None or spec is None:
            return container
        if spec == self._spec and container.is_there():
            return container
        container.close()
        return None


def memory_bytes(limits: Limits) -> int:
    """The container's bound: what a phase may have and write, twice the checkpoint, one frame, and the server."""
    phase = limits.memory_bytes + limits.disk_bytes
    return phase + 2 * limits.checkpoint_bytes + limits.frame_bytes + _SERVER_BYTES


def container_name(workspace: str, *words: str) -> str:
    """A container's name that people can read: darwin-WORKSPACE-ADA."""
    text = "-".join(("darwin", *(word for word in (workspace, *words) if word)))
    return re.sub(r"[^a-zA-Z0-9_.-]+", "-", text).lower()[:100]
