"""The nursery: imports torch once, and forks a trial server from itself for each box that the host opens.

It never runs a candidate's code, so every server begins as clean as one that was started for it, without the
seconds that importing takes. ``process`` alone has one: a container's server is started in the container.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import tempfile

from . import candidate, serving, tree  # noqa: TID251 (neighbours by path: nothing of ours is installed in there)

_MESSAGE = 1 << 16


def main(control: socket.socket) -> int:
    """Fork servers and reap them, until the host closes ``control``.

    A request is a JSON object, its answer a process number on a line. ``{"environment"}`` forks a server with that
    environment and, as its standard input, output and error, the three descriptors that come along. ``{"reap"}``
    names a server that has ended; until then the host can read its bill.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tree.hide()
    candidate.warm_up()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE, 3)
        if not message:
            return 0
        request = json.loads(message)
        if "reap" in request:
            pid = request["reap"]
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        else:
            pid = os.fork()
            if pid == 0:
                control.close()
                os._exit(_serve(request["environment"], descriptors))  # shutting torch down takes a second
            for descriptor in descriptors:
                os.close(descriptor)
        control.sendall(b"%d\n" % pid)


def _serve(environment: dict[str, str], descriptors: list[int]) -> int:
    """Become a server with an environment, a session and a log of its own."""
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    folder = environment[tree.MARKER]
    _mark(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    try:
        os.chdir(folder)
    except FileNotFoundError:  # closed again before it was begun
        return 0
    return serving.main([folder])


def _mark(folder: str) -> None:
    """Write the box's folder where this process's first environment lies in memory: that is what the kernel shows of it
    and of all that it forks."""
    variables = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    name, number = f"{tree.MARKER}=".encode(), 0
    while address := variables[number]:
        variable = ctypes.string_at(address)
        if variable.startswith(name):
            room = len(variable) - len(name)
            ctypes.memmove(address + len(name), os.fsencode(folder).ljust(room, b"\0"), room)
        number += 1
