"""Removing a folder that somebody filled who did not want it removed. Used at both ends of the channel."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def remove(path: Path) -> None:
    """Remove whatever is there, however it was nested or protected."""
    if not os.path.lexists(path):
        return
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except (OSError, RecursionError):
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):  # they know no depth
            subprocess.run([*command, str(path)], check=False, stdin=subprocess.DEVNULL)
