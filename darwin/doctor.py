"""``darwin doctor``: whether a run could work here, line by line, with what to do about what could not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from darwin.agents.members import Members
from darwin.config import Config
from darwin.confinement import recipe, trusted
from darwin.errors import UsageError
from darwin.models import members_of, seats
from darwin.prepare import cache_folder
from darwin.sandbox import engine, image
from darwin.sandbox.errors import EngineError
from darwin.sandbox.examine import ERROR, OK, WARNING, Finding, examine

_FREE_GB = (
    5  # an image of 1.3 GB is built in layers that exist twice for a while; a workspace needs under 0.1
)
_KEY = "OPENAI_API_KEY"


def findings(config: Config, folder: Path) -> Iterator[Finding]:
    """Everything that is looked at, for a run of this configuration in this folder; nothing is changed."""
    members = members_of(config, folder)
    yield from _sandbox(config, trusted(members))
    yield _torch(config)
    yield _data(config)
    yield _git()
    yield _key(members)
    yield _disk(folder)


def _sandbox(config: Config, safe: bool) -> Iterator[Finding]:
    needed = config.sandbox == "docker" or bool(config.runtime or config.gpus) or not safe
    if config.sandbox == "process":
        yield Finding(
            "sandbox", OK if safe else WARNING, "process: trials run as you, unconfined",
            "" if safe else "Take --sandbox docker for scripts that a model writes.",
        )  # fmt: skip
        return
    try:
        client = engine.connect()
    except EngineError as error:
        yield Finding(
            "engine", ERROR if needed else WARNING, str(error), "Without it --sandbox auto takes process."
        )
        return
    with closing(client):
        wanted = recipe(config.base_image, cuda=config.device != "cpu")
        there = image.exists(client, wanted.tag)
        yield from examine(client, wanted.tag if there else None, config.runtime, config.devices)
        if there:
            yield Finding("image", OK, f"{wanted.tag}, {image.size(client, wanted.tag) / 1e9:.2f} GB")
        else:
            yield Finding(
                "image", WARNING, f"{wanted.tag} is not built yet, so isolation was not tested",
                "darwin image build, or just the next darwin evolve.",
            )  # fmt: skip


def _torch(config: Config) -> Finding:
    found = f"torch {version('torch')}, numpy {version('numpy')}"
    if config.device == "cpu" or config.sandbox != "process":
        return Finding("torch", OK, found)
    import torch

    if torch.cuda.is_available():
        return Finding("torch", OK, found)
    return Finding("torch", ERROR, f"{found} sees no GPU", "Install torch's CUDA build, or use --device cpu.")


def _data(config: Config) -> Finding:
    if config.data and not (Path(config.data) / "meta.json").is_file():
        return Finding("data", ERROR, f"{config.data} is gone", "darwin prepare")
    if config.data or list(cache_folder().glob("*/meta.json")):
        return Finding("data", OK, config.data or str(cache_folder()))
    return Finding("data", WARNING, "none prepared yet", "darwin prepare, or just the next darwin evolve.")


def _git() -> Finding:
    try:
        found = subprocess.run(
            ["git", "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return Finding("git", ERROR, "git cannot be run", "Install git.")
    return Finding("git", OK, found)


def _key(members: Members) -> Finding:
    there = bool(os.environ.get(_KEY))
    if trusted(members):
        return Finding("key", OK, f"{_KEY} is {'set' if there else 'not set'}; these agents need none")
    try:
        places = dict.fromkeys(seat.endpoint.host for seat in seats(members))
    except UsageError as error:
        return Finding("key", ERROR, str(error), "Or take agents that need none: --agents rules:6")
    return Finding("key", OK, f"models are asked at {', '.join(places)}; darwin agents test tries them")


def _disk(folder: Path) -> Finding:
    where = folder.resolve()
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free / 1e9
    if free < _FREE_GB:
        return Finding(
            "disk", WARNING, f"{free:.1f} GB free at {where}", f"Free some; {_FREE_GB} GB is safe."
        )
    return Finding("disk", OK, f"{free:.0f} GB free at {where}")
