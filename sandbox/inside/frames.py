"""Length-prefixed frames over a pair of file descriptors: 4 + 8 bytes of lengths, a JSON header, raw payload.

Both ends use it: ``box`` providers on the host and the server inside. It is bounded in size and in time, and
a header can be read before its payload, so that the server can fork in between.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER = 1 << 20  # bytes: genome file names and reports are far below


class Closed(Exception):
    """The other end is gone."""


class Late(Exception):
    """The other end did not answer, or took nothing, in time."""


class Malformed(Exception):
    """The other end sent what is not a frame, or one over its bound."""


class Channel:
    """One end. Makes both descriptors non-blocking; ``max_payload`` in bytes. Not thread-safe."""

    def __init__(self, read_fd: int, write_fd: int, max_payload: int) -> None:
        self._read_fd, self._write_fd, self._max_payload = read_fd, write_fd, max_payload
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._reading, self._writing = select.poll(), select.poll()
        self._reading.register(read_fd, select.POLLIN)
        self._writing.register(write_fd, select.POLLOUT)

    def send(
        self,
        header: dict[str, Any],
        payload: bytes | bytearray | memoryview = b"",
        timeout: float | None = None,
    ) -> None:
        """Send one frame within ``timeout`` seconds (None: no bound); raises ``Closed`` or ``Late``."""
        text = json.dumps(header).encode()
        body = memoryview(payload).cast("B") if len(payload) else memoryview(b"")
        until = None if timeout is None else time.monotonic() + timeout
        for part in (memoryview(_LENGTHS.pack(len(text), len(body)) + text), body):
            sent = 0
            while sent < len(part):
                try:
                    sent += os.write(self._write_fd, part[sent : sent + (1 << 20)])
                except BlockingIOError:
                    _wait(self._writing, until)
                except OSError as error:
                    raise Closed(str(error)) from None

    def receive(self, timeout: float | None = None) -> tuple[dict[str, Any], bytearray]:
        """The next frame within ``timeout`` seconds; raises ``Closed``, ``Late`` or ``Malformed``."""
        until = None if timeout is None else time.monotonic() + timeout
        header, size = self.header(until)
        return header, self.payload(size, until)

    def header(self, until: float | None = None) -> tuple[dict[str, Any], int]:
        """The next frame's header and the size of the payload that has to be read after it."""
        length, size = _LENGTHS.unpack(self._exactly(_LENGTHS.size, until))
        if length > _MAX_HEADER or size > self._max_payload:
            raise Malformed(f"a frame of {length} + {size} bytes is over its bound")
        try:
            header = json.loads(bytes(self._exactly(length, until)))
        except (ValueError, RecursionError) as error:
            raise Malformed(f"a header is not JSON: {error}") from None
        if not isinstance(header, dict):
            raise Malformed("a header is not an object")
        return header, size

    def payload(self, size: int, until: float | None = None) -> bytearray:
        """Exactly ``size`` bytes in a buffer of their own, which the caller may wipe."""
        return self._exactly(size, until)

    def _exactly(self, size: int, until: float | None) -> bytearray:
        buffer = bytearray(size)
        view = memoryview(buffer)
        have = 0
        while have < size:
            try:
                got = os.readv(self._read_fd, [view[have:]])
            except BlockingIOError:
                _wait(self._reading, until)
                continue
            except OSError as error:
                raise Closed(str(error)) from None
            if got == 0:
                raise Closed("end of file")
            have += got
        return buffer


def _wait(poll: select.poll, until: float | None) -> None:
    left = None if until is None else max(0.0, until - time.monotonic())
    if not poll.poll(None if left is None else left * 1000) and left is not None:
        raise Late
