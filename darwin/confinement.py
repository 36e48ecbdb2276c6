"""What confines a run: which sandbox its trials get, and where its agents' programs run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darwin.agents import program
from darwin.agents.agent import Ask, Launch
from darwin.agents.gateway import Gateway
from darwin.agents.members import Members
from darwin.agents.roster import TRUSTED
from darwin.config import Config
from darwin.errors import UsageError
from darwin.models import members_of
from darwin.sandbox import ProcessSandbox, engine, image
from darwin.sandbox.box import Sandbox
from darwin.sandbox.container import require_gpus
from darwin.sandbox.docker import DockerSandbox
from darwin.sandbox.errors import EngineError
from darwin.sandbox.population import AgentContainers

_HERE = Path(__file__).parent
RISK = (
    "--sandbox process: scripts written by a language model will run as you, on this machine, with your files, "
    "your keys and your network in reach."
)


@dataclass(frozen=True)
class Confinement:
    """The sandbox of trials, how agents are launched, CPU seconds of what is no child of this process, and how
    packages are put into the trials that follow, by the lines of their lock; None where none can be."""

    sandbox: Sandbox
    launch: Launch
    cpu_seconds: Callable[[], float] = lambda: 0.0
    image: str = "process"
    """What trials run in: an image's tag, or ``process``."""
    provide: Callable[[tuple[str, ...]], None] | None = None


def plain(gateway: Gateway | None = None) -> Confinement:
    """Trials as plain processes, agents right here."""

    def launch(name: str) -> Ask:
        folder = None if gateway is None else gateway.folder(name)
        if folder is None:
            return program
        return lambda task: program({**task, "gateway": str(folder)})

    sandbox = ProcessSandbox()
    return Confinement(sandbox, launch, cpu_seconds=sandbox.cpu_seconds)


def recipe(base: str = Config.base_image, torch_index: str | None = None, cuda: bool = False) -> image.Recipe:
    """The image of this darwin; on ``cuda`` torch comes from PyPI unless ``torch_index`` says otherwise."""
    if torch_index is None:
        torch_index = "" if cuda else image.CPU_INDEX
    folders = {f"{room}/inside": _HERE / room / "inside" for room in ("sandbox", "agents")}
    return image.Recipe(folders, base, torch_index)


def trusted(members: Members) -> bool:
    """Whether all that these agents write ships with darwin."""
    return all(member.kind in TRUSTED for member in members.members)


@contextmanager
def confined(
    config: Config, workspace: Path, say: Callable[..., None], gateway: Gateway | None = None
) -> Iterator[Confinement]:
    """Everything that confines a run, from what ``--sandbox`` says; taken down at the end, however it comes.
    ``gateway`` is the agents' way to models, the one thing that is mounted into their containers.

    Raises ``EngineError`` or ``UsageError``: the engine, its image or its devices cannot be used as asked.
    """
    client, safe = None, trusted(members_of(config, workspace))
    if config.sandbox in ("docker", "auto"):
        try:
            client = engine.connect()
        except EngineError as error:
            if config.sandbox == "docker" or config.runtime or config.gpus or not safe:
                raise
            say(f"Trials run as plain processes, not in containers. {error}".replace(f"; {engine.INSTEAD}", "")
                .replace(f", {engine.INSTEAD}", ""))  # fmt: skip
    if client is None:
        if config.runtime or config.gpus:
            raise UsageError("--runtime and --gpus are for containers. Leave them out, or --sandbox process.")
        if not safe:
            say(RISK, "yellow")
        found = plain(gateway)
        try:
            yield found
        finally:
            found.sandbox.close()
        return
    if config.device != "cpu" and not config.gpus:
        raise UsageError(
            f"--device {config.device} in a container needs to know which: --gpus 0, for example."
        )
    with contextlib.ExitStack() as stack:
        stack.callback(client.close)
        require_gpus(client, config.devices)
        tag = ready_image(client, recipe(config.base_image, cuda=config.device != "cpu"), say)
        name = workspace.resolve().name
        sandbox = DockerSandbox(tag, name, config.runtime, config.devices, client)
        stack.callback(sandbox.close)
        folders = gateway.folder if gateway else lambda name: None
        agents = AgentContainers(client, tag, name, config.runtime, folders)
        stack.callback(agents.close)
        version = client.version()["Version"]
        say(f"Every agent and every trial runs in a Docker container of its own (engine {version}).")
        yield Confinement(
            sandbox,
            agents.launch,
            cpu_seconds=lambda: sandbox.cpu_seconds() + agents.cpu_seconds(),
            image=tag,
            provide=lambda lock: sandbox.use(image.build(client, image.Layer(tag, lock), say)),
        )


def ready_image(client: Any, wanted: image.Recipe, say: Callable[..., None]) -> str:
    """The image's tag; built first, with a line a step, where it is missing."""
    if not image.exists(client, wanted.tag):
        say(f"Building the image {wanted.tag} from {wanted.base}; this is done once, and takes minutes.")
        image.build(client, wanted, say)
    return wanted.tag
