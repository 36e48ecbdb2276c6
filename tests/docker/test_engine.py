"""An engine that is not as it must be: one sentence, exit code 2, nothing left behind. And what it is asked for."""

from __future__ import annotations

import http.server
import io
import json
import os
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from darwin import cli
from darwin.config import Config
from darwin.confinement import confined, recipe
from darwin.sandbox import Limits, engine, image
from darwin.sandbox.container import Container, Spec, require_gpus
from darwin.sandbox.docker import DockerSandbox
from darwin.sandbox.errors import EngineError
from darwin.sandbox.examine import examine
from darwin.sandbox.limits import MiB
from darwin.sandbox.population import AgentContainers
from tests.engine import TASK, docker_sandbox, require_engine
from tests.evolve.killed import in_child

TEXT = "to be or not to be\n" * 1000


def darwin(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "darwin", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def one_sentence(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.fixture
def old_engine(tmp_path):
    """Something on a socket that says it is Docker 19.03."""

    class Old(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"Version": "19.03.15", "ApiVersion": "1.40"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "client"

        def log_message(self, *_):
            pass

    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "old.sock"), Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"unix://{tmp_path}/old.sock"
        server.shutdown()


def own_containers(client):
    """This process's containers; other tests have theirs at the same time."""
    return client.containers(all=True, filters={"label": f"{engine.LABEL}.owner={os.getpid()}"})


def test_no_engine_is_said_with_what_to_do_and_leaves_nothing(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    arguments = ["evolve", "--sandbox", "docker", "--text", "text.txt"]
    done = darwin(*arguments, cwd=tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    one_sentence(done, "There is no Docker engine at")
    assert "--sandbox process" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_an_engine_elsewhere_is_refused(tmp_path):
    one_sentence(darwin("image", "build", cwd=tmp_path, DOCKER_HOST="tcp://127.0.0.1:2375"), "unix:// socket")


def test_an_engine_that_is_too_old_is_named(old_engine, tmp_path):
    one_sentence(darwin("image", "build", cwd=tmp_path, DOCKER_HOST=old_engine), "too old: version 19.03.15")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody without permission")
def test_without_permission_the_group_is_named(client):
    def as_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return cli.app(["image", "build"], standalone_mode=False)

    code, said = in_child(as_nobody)
    assert (code, said.count("\n")) == (2, 1), said
    assert "There is no permission on /var/run/docker.sock, which belongs to group" in said
    assert "usermod -aG" in said


def test_auto_takes_processes_without_an_engine_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    said: list[str] = []
    with confined(Config(), tmp_path, lambda text, style="": said.append(text)) as found:
        assert found.sandbox.name == "process"
    (line,) = said
    assert line.startswith("Trials run as plain processes, not in containers. There is no Docker engine at")


def test_auto_never_falls_back_for_agents_that_ask_a_model(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("darwin.confinement.TRUSTED", ())
    said: list[str] = []
    with pytest.raises(EngineError, match="Install and start one"), confined(Config(), tmp_path, said.append):
        pass
    tell = lambda text, style="": said.append(text)  # noqa: E731
    with confined(Config(sandbox="process"), tmp_path, tell) as found:
        assert found.sandbox.name == "process"
    assert "your keys and your network in reach" in said[-1]


def test_a_base_image_that_cannot_be_pulled_is_named(client, tmp_path):
    done = darwin("image", "build", "--base", "nowhere.invalid/python:3", cwd=tmp_path)
    assert done.returncode == 2
    assert "The base image nowhere.invalid/python:3 cannot be pulled (BASE_IMAGE of" in done.stderr


@pytest.fixture
def broken_base(client):
    """A base image whose pip fails."""
    steps = (
        f"FROM {Config.base_image}",
        "RUN printf '#!/bin/sh\\necho pip is broken here; exit 3' > $(command -v pip)",
    )
    tag, dockerfile = "darwin-broken-base:tests", io.BytesIO("\n".join(steps).encode())
    assert not [
        event for event in client.build(fileobj=dockerfile, tag=tag, rm=True, decode=True) if "error" in event
    ]
    yield tag
    client.remove_image(tag)


def test_a_failing_build_shows_its_last_lines_and_leaves_nothing(client, broken_base, tmp_path):
    before = {one["Id"] for one in client.containers(all=True, filters={"ancestor": broken_base})}
    done = darwin("image", "build", "--base", broken_base, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done
    assert "The image cannot be built: The command" in done.stderr
    assert done.stderr.partition("Its last lines:\n")[2].splitlines()[-1] == "pip is broken here"
    assert {one["Id"] for one in client.containers(all=True, filters={"ancestor": broken_base})} == before
    assert not image.exists(client, recipe(broken_base).tag)


def test_a_full_disk_is_said_as_such():
    said = image._failed(
        recipe(), "write /var/lib/docker/x: no space left on device", ["Step 6/11 : RUN pip"]
    )
    assert said.startswith("There is no disk left to build the image.")


def test_gpus_without_a_gpu_runtime_are_refused(client, tmp_path):
    before = len(own_containers(client))
    if "nvidia" in client.info()["Runtimes"]:
        pytest.skip("this engine has a GPU runtime")
    with pytest.raises(EngineError, match="--gpus 0 needs a GPU runtime"):
        require_gpus(client, ("0",))
    sandbox = docker_sandbox(gpus=("0",))
    with pytest.raises(EngineError, match="--gpus 0 needs a GPU runtime"):
        sandbox.open("one", Limits())
    sandbox.close()
    (tmp_path / "text.txt").write_text(TEXT)
    options = ("--sandbox", "docker", "--device", "cuda", "--gpus", "0", "--text", "text.txt")
    one_sentence(darwin("evolve", *options, cwd=tmp_path), "--gpus 0 needs a GPU runtime")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
    assert len(own_containers(client)) == before


def test_a_runtime_that_the_engine_does_not_know_is_refused(client):
    sandbox = docker_sandbox(runtime="runsc-of-nobody")
    with pytest.raises(EngineError, match="runsc-of-nobody"):
        sandbox.open("one", Limits())
    sandbox.close()


def test_the_image_is_small_and_not_built_again_without_a_change(client):
    _, tag = require_engine()
    said: list[str] = []
    assert image.build(client, recipe(), said.append) == tag and said == []
    assert image.size(client, tag) < 1.6e9
    assert recipe("another").tag != tag
    history = "".join(str(layer) for layer in client.history(tag))
    assert "OPENAI" not in history


def test_prune_removes_images_of_earlier_versions_and_not_the_present_one(client):
    _, tag = require_engine()
    for _ in client.build(
        fileobj=image._context(recipe()), custom_context=True, dockerfile="Dockerfile.agent", rm=True,
        buildargs=recipe().arguments, labels={"darwin.image": "x", "old": "1"}, tag="darwin-agent:old", decode=True,
    ):  # fmt: skip
        pass
    removed = [name for name, _ in image.prune(client, tag)]
    assert "darwin-agent:old" in removed
    assert image.exists(client, tag) and not image.exists(client, "darwin-agent:old")


def test_an_agent_in_its_container_answers_as_it_would_here(client):
    from darwin.agents import program

    _, tag = require_engine()
    agents = AgentContainers(client, tag, "tests")
    ada, grace = agents.launch("Ada"), agents.launch("Grace")
    assert ada(TASK) == grace(TASK) == program(TASK)
    found = {
        one.name: one for one in engine.containers(client) if one.role == "agent" and one.owner == os.getpid()
    }
    assert {"darwin-tests-ada", "darwin-tests-grace"} <= set(found)
    client.kill(found["darwin-tests-ada"].id)
    assert ada(TASK) == program(TASK)  # a new container
    assert agents.cpu_seconds() > 0
    agents.close()
    assert not [one for one in engine.containers(client) if one.role == "agent" and one.owner == os.getpid()]


def test_a_gateway_can_be_reached_by_its_socket_and_nothing_else_is_shared(client, tmp_path):
    _, tag = require_engine()
    tmp_path.chmod(0o755)
    talk = (
        "import os, socket, struct; s = socket.socket(1); s.connect('/gateway/sock'); said = s.recv(9)\n"
        "os.write(1, struct.pack('>IQ', 2, len(said)) + b'{}' + said)"
    )
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        (tmp_path / "sock").chmod(0o666)
        server.listen()
        spec = Spec(
            tag,
            ("python3", "-c", talk),
            {"/tmp": MiB},
            128 * MiB,
            16,
            MiB,
            mounts={str(tmp_path): "/gateway"},
        )
        container = Container(client, spec, "darwin-tests-gateway", engine.labels("tests", "agent", "Ada"))
        peer, _ = server.accept()
        with peer:
            peer.send(b"hello")
            assert container.receive(30) == ({}, b"hello")
        container.close()


def test_doctor_tries_the_network_and_its_exit_code_tells(client, tmp_path):
    require_engine()
    done = darwin("doctor", "--sandbox", "docker", "--json", cwd=tmp_path, OPENAI_API_KEY="sk-never-shown")
    found = {one["what"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0, done.stdout
    assert {"engine", "limits", "runtime", "leftovers", "network", "hardening", "image", "torch", "data", "git", "key",
            "disk"} == set(found)  # fmt: skip
    assert (found["network"]["level"], found["hardening"]["level"]) == ("ok", "ok")
    assert "sk-never-shown" not in done.stdout + done.stderr
    broken = darwin("doctor", "--sandbox", "docker", cwd=tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert broken.returncode == 1
    assert "error    engine" in broken.stdout and "Install and start one" in broken.stdout


class Careless:
    """An engine that gives containers more than they were asked for with."""

    def __init__(self, client, **more):
        self._client, self._more = client, more

    def __getattr__(self, name):
        return getattr(self._client, name)

    def create_host_config(self, **asked):
        return self._client.create_host_config(**{**asked, **self._more})


def test_what_doctor_tries_finds_a_container_that_gets_out(client):
    _, tag = require_engine()
    found = {one.what: one for one in examine(Careless(client, network_mode="bridge"), tag)}
    assert found["network"].level == "error" and "a container got out: eth0" in found["network"].text
    assert "172.17.0.1:" in found["network"].text, "it reached a server on this machine"
    assert "do not run scripts on it" in found["network"].remedy
    assert found["hardening"].level == "ok"


def test_what_doctor_tries_finds_a_container_that_may_become_more(client):
    _, tag = require_engine()
    loose = Careless(client, cap_drop=None, security_opt=None)
    found = {one.what: one for one in examine(loose, tag)}
    assert found["hardening"].level == "error"
    assert "it has capabilities, it may gain privileges" in found["hardening"].text
    assert found["network"].level == "ok"


KEPT = {"MemoryLimit": True, "PidsLimit": True, "CpuCfsQuota": True, "SwapLimit": True, "MemTotal": 1 << 40}


@pytest.mark.parametrize("lacks", [*KEPT, "runtime", "gpus"])
def test_doctor_says_what_to_do_about_every_bound_that_is_not_kept(lacks):
    class Engine:
        def version(self):
            return {"Version": "27", "ApiVersion": "1.47"}

        def info(self):
            return {
                **KEPT,
                lacks: 1 << 28 if lacks == "MemTotal" else False,
                "KernelVersion": "6",
                "Runtimes": {"runc": {}},
            }

        def containers(self, **_):
            return []

    asked = {"runtime": "runsc" if lacks == "runtime" else "", "gpus": ("0",) if lacks == "gpus" else ()}
    wrong = [one for one in examine(Engine(), None, **asked) if one.level != "ok"]
    assert len(wrong) == 1 and wrong[0].remedy


def test_sweep_says_what_it_removed(client, tmp_path):
    sandbox: DockerSandbox = docker_sandbox()
    box = sandbox.open("living", Limits())
    done = darwin("sandbox", "sweep", cwd=tmp_path)
    assert done.returncode == 0 and "of living runs stay" in done.stdout
    assert box.container in {one.id for one in engine.containers(client)}
    sandbox.close()
