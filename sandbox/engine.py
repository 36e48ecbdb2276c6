"""The Docker engine of this machine: reach it, say plainly why not, and find what dead owners left in it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from darwin.sandbox.errors import EngineError
from darwin.sandbox.owner import is_gone, machine, start_of

OLDEST_API = (1, 41)  # Engine 20.10 (2020): the first with what is asked of a container here
LABEL = "darwin"
_SECONDS = 120  # an engine on a busy machine takes seconds; beyond, something is wrong
_DEFAULT = "unix:///var/run/docker.sock"
INSTEAD = "or choose --sandbox process"


def address() -> str:
    """Where the engine is: ``DOCKER_HOST``, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or _DEFAULT


def connect() -> Any:
    """A client of the engine (``docker.APIClient``), once it has answered.

    Raises ``EngineError``: none answers, no permission on its socket, too old, or not on this machine.
    """
    where = address()
    if not where.startswith("unix://"):
        raise EngineError(
            f"DOCKER_HOST is {where}, and trials are only run by an engine of this machine, at a unix:// socket. "
            f"Unset DOCKER_HOST, {INSTEAD}."
        )
    path = where.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_SECONDS)
            probe.connect(path)
        client = docker.APIClient(base_url=where, timeout=_SECONDS, version="auto")
    except (DockerException, requests.RequestException, OSError) as error:
        raise EngineError(_unreachable(path, error)) from None
    found = client.version()
    if _numbers(found["ApiVersion"]) < OLDEST_API:
        client.close()
        raise EngineError(
            f"The Docker engine at {path} is too old: version {found['Version']}, and 20.10 is needed. "
            f"Update it, {INSTEAD}."
        )
    return client


def _unreachable(path: str, error: Exception) -> str:
    """Why no engine answers, and what to do about it, in one or two sentences."""
    if isinstance(error, PermissionError):
        group = ""
        with contextlib.suppress(OSError, KeyError, ImportError):
            import grp

            group = grp.getgrgid(Path(path).stat().st_gid).gr_name
        return (
            f"There is no permission on {path}, which belongs to group {group or 'docker'}. Join it: "
            f"sudo usermod -aG {group or 'docker'} $USER, log in again; {INSTEAD}."
        )
    if "too old" in str(error) or "Minimum supported API" in str(error):
        return f"The Docker engine at {path} and the docker package do not understand each other: {error}."
    what = "There is no Docker engine at" if isinstance(error, FileNotFoundError) else "Nobody answers at"
    return f"{what} {path}. Install and start one (https://docs.docker.com/engine/install), {INSTEAD}."


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def labels(workspace: str, role: str, name: str = "") -> dict[str, str]:
    """What every container carries: whose it is, so that the next start can tell whether its owner lives.

    ``role`` is trial, agent or doctor; ``name`` the agent's (a trial's individual is in the container's name,
    since it waits for it anonymously).
    """
    pid = os.getpid()
    found = {
        LABEL: role,
        f"{LABEL}.workspace": workspace,
        f"{LABEL}.owner": str(pid),
        f"{LABEL}.owner-start": str(start_of(pid)),
        f"{LABEL}.machine": machine(),
    }
    return {**found, f"{LABEL}.{role}": name} if name else found


@dataclass(frozen=True)
class Found:
    """A container of darwin's; ``orphan`` says that its owner is surely gone."""

    id: str
    name: str
    role: str
    workspace: str
    owner: int
    orphan: bool


def containers(client: Any) -> Iterator[Found]:
    """All containers of all darwins, running or not."""
    for one in client.containers(all=True, filters={"label": LABEL}):
        carried = one["Labels"]
        try:
            owner = int(carried[f"{LABEL}.owner"])
            gone = is_gone(owner, carried[f"{LABEL}.owner-start"], carried[f"{LABEL}.machine"])
        except (KeyError, ValueError):
            continue
        name = (one["Names"] or [one["Id"][:12]])[0].lstrip("/")
        yield Found(one["Id"], name, carried[LABEL], carried.get(f"{LABEL}.workspace", ""), owner, gone)


def sweep(client: Any) -> list[Found]:
    """Kill and remove the containers of darwins that are gone; a living one's are never touched."""
    removed = [one for one in containers(client) if one.orphan]
    for one in removed:
        remove(client, one.id)
    return removed


def remove(client: Any, container: str) -> None:
    """Kill and remove a container by its id; one that is gone already, or going, is fine."""
    try:
        client.remove_container(container, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if "already in progress" not in str(error):
            raise EngineError(f"A container cannot be removed: {explained(error)}.") from None


def explained(error: Exception) -> str:
    """The engine's own words, without the client's wrapping and full stop."""
    text = getattr(error, "explanation", None) or str(error)
    return str(text).strip().rstrip(".")
