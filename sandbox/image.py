"""The image that agents and trials run from: built when its content changes, found again when not.

Its tag is a hash of all that decides what is in it: the Dockerfile, the two ``inside/`` folders, the base image
and the versions of torch and numpy, which are those that darwin itself runs with.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, DockerException, ImageNotFound

from darwin.sandbox import engine
from darwin.sandbox.errors import EngineError

NAME = "darwin-agent"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_LABEL = "darwin.image"
_DOCKERFILE = Path(__file__).resolve().parent / "Dockerfile.agent"
_SECONDS = 3600  # a slow network takes long for torch
_LAST_LINES = 8
_ENGINES_OWN = ("--->", "Removing intermediate container")  # lines that say nothing of what failed


@dataclass(frozen=True)
class Recipe:
    """What goes into an image: ``folders`` of ours by their path in the build context, and the arguments.

    ``torch_index`` is where pip finds torch's builds besides PyPI: the CPU ones; empty for PyPI's own, with
    CUDA; or a CUDA index.
    """

    folders: Mapping[str, Path] = field(hash=False)
    base: str
    torch_index: str = CPU_INDEX

    @property
    def arguments(self) -> dict[str, str]:
        """The build arguments."""
        return {
            "BASE_IMAGE": self.base,
            "TORCH": version("torch").partition("+")[0],
            "NUMPY": version("numpy"),
            "TORCH_INDEX": self.torch_index,
        }

    @property
    def files(self) -> dict[str, bytes]:
        """The build context."""
        found = {"Dockerfile.agent": _DOCKERFILE.read_bytes()}
        for name, folder in self.folders.items():
            found |= {f"{name}/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}
        return found

    @property
    def tag(self) -> str:
        """The image's full name, from the hash of its content."""
        digest = hashlib.sha256()
        for key, value in sorted(
            {**self.files, **{k: v.encode() for k, v in self.arguments.items()}}.items()
        ):
            digest.update(f"{len(key)} {key} {len(value)} ".encode() + value)
        return f"{NAME}:{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class Layer:
    """Packages over an image: ``lock`` are pip's requirement lines, each of one exact version with its hash."""

    base: str
    lock: tuple[str, ...]

    @property
    def arguments(self) -> dict[str, str]:
        """The build arguments: none."""
        return {}

    @property
    def files(self) -> dict[str, bytes]:
        """The build context."""
        steps = (
            f"FROM {self.base}",
            "USER root",
            "COPY packages.txt /opt/darwin/packages.txt",
            "RUN pip install --no-cache-dir --no-deps --only-binary=:all: --require-hashes"
            " -r /opt/darwin/packages.txt",
            "USER 10001:10001",
        )
        return {
            "Dockerfile.agent": ("\n".join(steps) + "\n").encode(),
            "packages.txt": ("\n".join(self.lock) + "\n").encode(),
        }

    @property
    def tag(self) -> str:
        """The image's full name, from the hash of its content."""
        digest = hashlib.sha256(b"".join(data for _, data in sorted(self.files.items())))
        return f"{NAME}:{digest.hexdigest()[:12]}"


def exists(client: Any, tag: str) -> bool:
    """Whether the engine has that image."""
    try:
        client.inspect_image(tag)
    except ImageNotFound:
        return False
    return True


def size(client: Any, tag: str) -> int:
    """Bytes of an image, all its layers together."""
    return int(client.inspect_image(tag)["Size"])


def build(client: Any, recipe: Recipe | Layer, say: Callable[[str], None] = lambda line: None) -> str:
    """Build the image unless it is there, telling each step, and return its tag.

    Raises ``EngineError`` with the last lines of what failed; nothing half-built is left.
    """
    if exists(client, recipe.tag):
        return recipe.tag
    lines: list[str] = []
    failure = ""
    try:
        for event in client.build(
            fileobj=_context(recipe),
            custom_context=True,
            dockerfile="Dockerfile.agent",
            tag=recipe.tag,
            buildargs=recipe.arguments,
            labels={_LABEL: recipe.tag},
            rm=True,
            forcerm=True,
            decode=True,
            timeout=_SECONDS,
        ):
            if "error" in event:
                failure = str(event["error"])
            text = _plain(str(event.get("stream", ""))).strip()
            if text:
                lines += text.splitlines()
                if text.startswith(("Step ", "Downloading ")):
                    say(text.splitlines()[0][:150])
    except (DockerException, requests.RequestException) as error:
        raise EngineError(_failed(recipe, engine.explained(error), lines)) from None
    if failure:
        raise EngineError(_failed(recipe, failure, lines))
    return recipe.tag


def prune(client: Any, keep: str | None = None) -> list[tuple[str, int]]:
    """Remove darwin's images but the one to ``keep``; (tag, bytes) of each. One in use stays."""
    removed = []
    for found in client.images(filters={"label": _LABEL}):
        tags = found.get("RepoTags") or [found["Id"]]
        if keep in tags:
            continue
        try:
            for tag in tags:
                client.remove_image(tag)
        except APIError as error:
            if "conflict" not in str(error).lower():
                raise EngineError(f"{tags[0]} cannot be removed: {engine.explained(error)}.") from None
            continue
        removed.append((tags[0], int(found["Size"])))
    return removed


def _context(recipe: Recipe | Layer) -> io.BytesIO:
    """The build context as a tar, without times or owners, so that equal content is equal to the engine's cache."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in recipe.files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    stream.seek(0)
    return stream


def _failed(recipe: Recipe | Layer, error: str, lines: list[str]) -> str:
    """One sentence, and the last lines of the build where they say more."""
    low = error.lower()
    if "no space left" in low or any("no space left" in line.lower() for line in lines[-20:]):
        return "There is no disk left to build the image. Free some: docker system prune, darwin image prune."
    if not any(line.startswith("Step ") and " FROM " not in line and " ARG " not in line for line in lines):
        return (
            f"The base image {recipe.base} cannot be pulled (BASE_IMAGE of Dockerfile.agent): {error.rstrip('.')}. "
            "Name another: darwin image build --base IMAGE"
        )
    own = [line for line in lines if not line.startswith(_ENGINES_OWN)]
    last = "\n".join(own[-_LAST_LINES:])
    return f"The image cannot be built: {_plain(error).rstrip('.')}. Its last lines:\n{last}"


def _plain(text: str) -> str:
    """Without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]", "", text)
