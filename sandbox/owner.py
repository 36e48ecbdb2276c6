"""Who owns what a darwin leaves behind: a process of this machine, told from a later one of the same number."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import psutil


def start_of(pid: int) -> str | None:
    """When a process began, in a form that only has to be equal for the same process; None if it is gone."""
    try:
        if sys.platform.startswith("linux"):
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            return text[text.rindex(")") + 2 :].split()[19]
        return str(int(psutil.Process(pid).create_time()))
    except (OSError, psutil.Error):
        return None


def machine() -> str:
    """This boot of this machine, and the namespace in which its process numbers count (Linux; else empty)."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    return ""


def is_gone(pid: int, start: str, where: str) -> bool:
    """Whether that process is surely gone; one that counts in another namespace of this boot may live."""
    here = machine()
    if where != here:
        return where.partition("/")[0] != here.partition("/")[0]
    return start_of(pid) != start
