"""The Docker Engine that other tests rely on."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hypervisor.standalone.bootstrap import ROOT
from tests.fixtures.docker import NewEngine
from tests.support.docker_engine import Engine, wait_until
from tests.support.docker_image import IMAGE

pytestmark = pytest.mark.docker

LEAVE_BEHIND = """
import os, sys
from tests.support.docker_engine import Engine
engine = Engine()
engine.start()
engine.client.containers.run(sys.argv[1], ["sleep", "600"], detach=True, network_mode="none")
print(engine.folder, flush=True)
sys.stdin.read()
"""


def test_the_engine_runs_a_container(engine: Engine) -> None:
    output = engine.client.containers.run(IMAGE, ["echo", "hello"], network_mode="none")

    assert output == b"hello\n"


def test_containers_that_outlive_a_killed_engine_are_kept(new_engine: NewEngine) -> None:
    engine = new_engine(live_restore=True)
    container = engine.client.containers.run(
        IMAGE, ["sleep", "600"], detach=True, network_mode="none"
    )

    engine.kill()
    assert not engine.answers()
    engine.start()

    container.reload()
    assert container.status == "running"


def test_nothing_is_left_of_an_engine_whose_owner_was_killed(new_engine: NewEngine) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", LEAVE_BEHIND, IMAGE], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert owner.stdout is not None
    folder = Path(owner.stdout.readline().strip())
    daemon = psutil.Process(int((folder / "docker.pid").read_text()))

    owner.kill()
    owner.communicate()
    wait_until(lambda: not daemon.is_running(), "dockerd ends with its owner", seconds=30)
    new_engine()

    assert not folder.exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


WAIT = """
import signal

def test_it_waits(engine):
    print(engine.folder, flush=True)
    signal.pause()
"""


def test_a_test_run_that_is_stopped_stops_its_engine(tmp_path: Path) -> None:
    (tmp_path / "test_wait.py").write_text(WAIT)
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--capture=no", "-p", "no:cacheprovider",
         "-p", "conftest", "-p", "tests.fixtures.docker", f"--rootdir={tmp_path}", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdout is not None
    folder = Path(next(line for line in run.stdout if "hv-engine" in line).split()[-1])
    assert folder.exists()

    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)

    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert not folder.exists()
