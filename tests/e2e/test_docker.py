"""The real service on a real Docker Engine."""

import re
import subprocess

import pytest

from benchmarks.service import Service
from hypervisor.standalone.bootstrap import ROOT
from tests.fixtures.docker import NewEngine
from tests.support.docker_image import IMAGE

pytestmark = pytest.mark.docker

SOCKET = "unix:///var/run/docker.sock"


def sessions() -> str:
    """Return the README's first session and its continuation with a real engine."""
    text = (ROOT / "README.md").read_text().split("## A first session")[1].split("\n## ")[0]
    return "\n".join(block.split("```")[0] for block in text.split("```sh\n")[1:])


def test_a_missing_engine_is_reported_if_one_was_requested(service: Service) -> None:
    status, output = service.run("demo", "--docker", "unix:///nowhere.sock")

    assert status == 1
    assert "No Docker Engine at unix:///nowhere.sock could be connected" in output


def test_the_readmes_session_ends_with_the_logs_of_a_real_container(
    service: Service, new_engine: NewEngine
) -> None:
    engine = new_engine(fenced=True)
    script = sessions().replace("http://localhost:8000", service.url)
    assert SOCKET in script
    script = script.replace(SOCKET, engine.socket).replace("busybox:1", IMAGE)

    done = subprocess.run(
        ["sh", "-eu"], input=script, capture_output=True, text=True, timeout=180, check=False,
        cwd=ROOT, env=service.environment,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Hello from a container."
    assert service.run("verify")[0] == 0


def test_the_demo_runs_containers_on_the_given_engine(
    service: Service, new_engine: NewEngine
) -> None:
    engine = new_engine(fenced=True)

    status, output = service.run("demo", "--docker", engine.socket, "--image", IMAGE)

    assert status == 0, output
    (running,) = engine.client.containers.list()
    assert "Hello from a real container, on " in output
    assert re.search(r"counter \(deployment \d+\): running", output)
    assert b"step 1" in running.logs()
