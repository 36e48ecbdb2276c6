"""The trial server: imports torch once, then answers the host's frames, forking a child for each phase.

Every request is one frame, every reply any number of ``metrics`` events and then one ``ended`` frame whose
payload is the log and after it the answer; ``stop``, which may come while the train command runs, has no reply of
its own. The server never runs a candidate's code itself, so what it forks is clean: each judged batch gets a process
that has seen no other, and nothing of one phase is left for the next but the checkpoint, which the server keeps in
its own memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import candidate, phase, tree  # noqa: TID251 (neighbours by path: nothing of ours is installed in there)
from .frames import Channel, Closed  # noqa: TID251
from .removal import remove  # noqa: TID251

_MAX_PAYLOAD = 1 << 34  # bytes; the host is trusted, the bound only catches a broken stream
_METRICS_TAIL = 4096  # bytes of metrics.jsonl that are looked at


class Server:
    """One trial's server. ``root`` is its own folder; ``writable`` are further folders it empties."""

    def __init__(self, channel: Channel, hangup: int, root: Path, writable: list[Path]) -> None:
        self._channel, self._hangup = channel, hangup
        self._root, self._writable = root, writable
        self._genome, self._data, self._out = root / "genome", root / "data", root / "out"
        self._folders = [self._genome, self._data, self._out, root / "home", root / "tmp"]
        self._files: dict[str, bytes] = {}
        self._checkpoint: bytes | None = None

    def serve(self) -> None:
        """Answer until the host closes the channel."""
        operations: dict[str, Callable[[dict[str, Any], int], None]] = {
            "put": self._put,
            "train": self._train,
            "inspect": self._inspect,
            "judge": self._judge,
            "calibrate": self._calibrate,
            "stop": lambda header, size: None,  # what it was to stop had just ended
        }
        self._clear()
        self._channel.send({"event": "ready", "torch": torch.__version__})
        while True:
            header, size = self._channel.header()
            operations[header["op"]](header, size)

    def _put(self, header: dict[str, Any], size: int) -> None:
        """The genome's files: ``files`` is {name: size}, the payload their bytes one after another. ``core`` is where
        this server and what it forks run from now on, or None."""
        _keep_to(header.get("core"))
        payload = bytes(self._channel.payload(size))
        self._files, self._checkpoint, at = {}, None, 0
        for name, length in header["files"].items():
            self._files[name] = payload[at : at + length]
            at += length
        self._channel.send({"event": "ended"})

    def _train(self, header: dict[str, Any], size: int) -> None:
        """Run the train command on the data in the payload; ``data`` is {name: size}."""
        self._checkpoint = None
        self._prepare()
        payload = self._channel.payload(size)
        at = 0
        for name, length in header["data"].items():
            with (self._data / name).open("wb") as file, memoryview(payload) as view:
                file.write(view[at : at + length])
            at += length
        payload[:] = bytes(size)
        metrics = _Metrics(self._out / "metrics.jsonl", self._channel)
        work = phase.Work(
            lambda request, answer: candidate.train(self._genome, header["arguments"], header["seed"]),
            self._genome,
            on_look=metrics.forward,
            on_host=self._take_stop,
        )
        report = self._run(work, header)
        problem = None
        if report.exit == 0 and report.stopped is None:
            self._checkpoint, problem = _read_checkpoint(self._out, header["checkpoint_bytes"])
            metrics.forward(report.cpu_seconds, report.wall_seconds)
        self._reply(report, {"checkpoint_problem": problem})

    def _take_stop(self) -> None:
        """Read the one thing the host says while a script trains; raises ``Closed`` where it is gone."""
        self._channel.header()

    def _inspect(self, header: dict[str, Any], size: int) -> None:
        checkpoint = self._prepare()
        work = phase.Work(
            lambda request, answer: candidate.inspect(self._genome, header, checkpoint, answer), self._genome
        )
        self._reply(self._run(work, header))

    def _judge(self, header: dict[str, Any], size: int) -> None:
        """One batch: the payload is read after the fork, straight into the child's pipe, and wiped."""
        checkpoint = self._prepare()
        work = phase.Work(
            lambda request, answer: candidate.judge(self._genome, header, checkpoint, request, answer),
            self._genome,
            feed=lambda: self._channel.payload(size),
        )
        self._reply(self._run(work, header))

    def _calibrate(self, header: dict[str, Any], size: int) -> None:
        _keep_to(header.get("core"))
        self._prepare()
        work = phase.Work(
            lambda request, answer: candidate.calibrate(answer, header.get("device", "cpu")), self._genome
        )
        self._reply(self._run(work, header))

    def _run(self, work: phase.Work, header: dict[str, Any]) -> phase.Report:
        report = phase.run(
            work, phase.Bounds(**header["bounds"]), self._hangup, [self._root, *self._writable]
        )
        report.log = report.log.replace(f"{self._genome}{os.sep}".encode(), b"")
        return report

    def _reply(self, report: phase.Report, more: dict[str, Any] | None = None) -> None:
        """End every phase: empty the folders, then answer."""
        self._clear()
        answer, payload = candidate.read_answer(report.answer)
        header = {
            "event": "ended",
            **report.header(),
            "answer": answer,
            "log_bytes": len(report.log),
            **(more or {}),
        }
        self._channel.send(header, report.log + payload)

    def _prepare(self) -> Path:
        """Write the genome, and the checkpoint where there is one, into empty folders."""
        self._clear()
        for name, content in self._files.items():
            path = self._genome / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        checkpoint = self._out / "ckpt.pt"
        if self._checkpoint is not None:
            checkpoint.write_bytes(self._checkpoint)
        return checkpoint

    def _clear(self) -> None:
        """Empty every folder a candidate can write to: the server's own too, where only its log stays, emptied."""
        for folder in (self._root, *self._writable):
            _remove_attributes(folder)
            for path in folder.iterdir():
                if path != self._root and not _is_own_log(path):
                    remove(path)
        _empty_own_log()
        for folder in self._folders:
            folder.mkdir(mode=0o700)


def _keep_to(core: int | None) -> None:
    """Run this server, and all it forks from now on, on one core."""
    if core is not None:
        with contextlib.suppress(OSError):  # this box may not use it: then it is no faster for it
            os.sched_setaffinity(0, {core})


def _remove_attributes(folder: Path) -> None:
    """Extended attributes hold some kilobytes, and stay when a folder is emptied."""
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):  # this file system has none
            for name in os.listxattr(folder):
                if name.startswith("user."):
                    os.removexattr(folder, name)


def _is_own_log(path: Path) -> bool:
    """Whether a path is the file that this server's standard error goes to, where a provider keeps one."""
    try:
        found, own = path.lstat(), os.fstat(2)
    except OSError:
        return False
    return stat.S_ISREG(own.st_mode) and (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)


def _empty_own_log() -> None:
    """A candidate can write into that file too, and would find it again."""
    if stat.S_ISREG(os.fstat(2).st_mode):
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)


class _Metrics:
    """The last well-formed line of metrics.jsonl, sent on as an event when it is a new one."""

    def __init__(self, path: Path, channel: Channel) -> None:
        self._path, self._channel = path, channel
        self._last: dict[str, Any] = {}

    def forward(self, cpu_seconds: float, wall_seconds: float) -> None:
        """Send {"event": "metrics", "step", "tokens", "loss"} and what it took so far, if there is something new."""
        try:
            found = _last_metrics(_tail_of_regular_file(self._path))
        except OSError:
            return
        if found and found != self._last:
            self._last = found
            used = {"cpu_seconds": cpu_seconds, "wall_seconds": wall_seconds}
            self._channel.send({"event": "metrics", **found, **used})


def _last_metrics(tail: bytes) -> dict[str, Any]:
    for line in reversed(tail.split(b"\n")[:-1]):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and all(
            _is_number(values.get(key)) for key in ("step", "tokens", "loss")
        ):
            return {key: values[key] for key in ("step", "tokens", "loss")}
    return {}


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 2**53
        and value == value
    )


def _tail_of_regular_file(path: Path) -> bytes:
    with contextlib.closing(_Regular(path.name, path.parent)) as file:
        return os.pread(file.fd, _METRICS_TAIL, max(0, file.stat.st_size - _METRICS_TAIL))


class _Regular:
    """An open regular file of a candidate's: no link followed, not even its folder's, and no hard link."""

    def __init__(self, name: str, folder: Path) -> None:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self.fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        finally:
            os.close(directory)
        self.stat = os.fstat(self.fd)
        if not stat.S_ISREG(self.stat.st_mode) or self.stat.st_nlink != 1:
            self.close()
            raise OSError("not a plain file")

    def close(self) -> None:
        os.close(self.fd)


def _read_checkpoint(out: Path, most: int) -> tuple[bytes | None, str | None]:
    """The checkpoint's bytes, or what is wrong with it in one sentence."""
    try:
        with contextlib.closing(_Regular("ckpt.pt", out)) as file:
            if file.stat.st_size > most:
                return None, f"ckpt.pt has {file.stat.st_size} bytes, more than the {most} allowed."
            if file.stat.st_size == 0:
                return None, "ckpt.pt is empty."
            return os.pread(file.fd, most, 0), None
    except FileNotFoundError:
        return None, "The training script wrote no ckpt.pt into its out_dir."
    except OSError:
        return None, "ckpt.pt is not a plain file: links and special files are not followed."


def main(arguments: list[str]) -> int:
    """Serve on standard input and output, which no child gets; ends, with all it started, when the host does."""
    root = Path(arguments[0]).resolve()
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tree.become_reaper()
    candidate.warm_up()
    server = Server(
        Channel(incoming, outgoing, _MAX_PAYLOAD), incoming, root, [Path(path) for path in arguments[1:]]
    )
    try:
        server.serve()
    except (Closed, phase.HostGone):
        remove(root)
    finally:
        tree.Tree().end(None)
    return 0


if __name__ == "__main__":
    sys.exit("start server.py instead")
