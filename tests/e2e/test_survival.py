"""Nothing that was accepted is lost, whichever process is killed."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.service import Service, wait_until
from hypervisor.standalone.bootstrap import ROOT
from tests.support.service import User, alive


@pytest.fixture(scope="module")
def service(own_service: Service) -> Service:
    return own_service


@pytest.fixture(scope="module")
def bob(service: Service) -> Iterator[User]:
    with User.newcomer(service.url, "bob", patience_s=60) as client:
        client.post("/organizations", name="Acme")
        client.post("/clusters", name="big", cpu=64, ram_mib="64Gi", gpu=0)
        yield client


@pytest.mark.parametrize(
    "name", ["worker", "background", "engines", "beat", "web", "events", "valkey", "postgres"]
)
def test_a_killed_process_is_restarted_and_work_continues(
    service: Service, bob: User, name: str
) -> None:
    before = bob.deploy(f"before-{name}")

    killed = service.kill(name)

    wait_until(
        lambda: (now := service.processes().get(name)) and now.pid != killed.pid,
        f"{name} is started again",
    )
    assert f"{name} was killed by SIGKILL" in service.output
    after = bob.deploy(f"after-{name}")
    bob.wait_for(before, "running")
    bob.wait_for(after, "running")


def test_after_everything_was_killed_all_data_is_there(service: Service, bob: User) -> None:
    deployment = bob.deploy("precious")
    bob.wait_for(deployment, "running")
    family = service.family()

    for process in family:
        if process.is_running():
            process.kill()
    psutil.wait_procs(family, 10)
    service.start()

    assert bob.status(deployment) == "running"
    bob.wait_for(bob.deploy("next"), "running")


def test_processes_left_by_a_killed_supervisor_are_gone_before_the_next_start(
    service: Service, bob: User
) -> None:
    children = service.family()[1:]

    service.stop(signal.SIGKILL)
    service.start()

    assert alive(children) == []
    bob.wait_for(bob.deploy("after-the-supervisor"), "running")


def test_sigterm_stops_everything_and_the_next_start_continues(service: Service, bob: User) -> None:
    deployment = bob.deploy("kept")
    bob.wait_for(deployment, "running")
    family = service.family()

    assert service.stop(signal.SIGTERM) == 0

    assert alive(family) == []
    service.start()
    assert bob.status(deployment) == "running"
    assert service.run("verify")[0] == 0


def test_a_second_up_on_the_same_home_is_refused(service: Service) -> None:
    status, output = service.run("up")

    assert status == 1
    assert f"{service.home} is in use by another `up`" in output


@pytest.fixture
def elsewhere(tmp_path: Path) -> Service:
    return Service(tmp_path / "home")


def test_a_port_in_use_is_reported_before_anything_is_started(elsewhere: Service) -> None:
    with socket.create_server(("127.0.0.1", elsewhere.port)):
        status, output = elsewhere.run("up")

    assert status == 1
    assert f"Port {elsewhere.port} of 127.0.0.1 cannot be used" in output
    assert f"PORT={elsewhere.port + 1}" in output
    assert not (elsewhere.home / "postgres").exists()


def test_a_bad_setting_is_reported_before_anything_is_started(elsewhere: Service) -> None:
    elsewhere.environment["SCHEDULER_INTERVAL"] = "often"

    status, output = elsewhere.run("up")

    assert status == 1
    assert "SCHEDULER_INTERVAL" in output
    assert not (elsewhere.home / "postgres").exists()


def test_a_command_that_needs_the_service_explains_how_to_start_it(elsewhere: Service) -> None:
    status, output = elsewhere.run("verify")

    assert status == 1
    assert "python3 manage.py up" in output


def test_ctrl_c_during_the_start_leaves_nothing_behind(elsewhere: Service) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up"], cwd=ROOT, env=elsewhere.environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Starting postgres and valkey")
    up = psutil.Process(process.pid)
    wait_until(up.children, "a first child")
    family = up.children(recursive=True)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == 0
    wait_until(lambda: not alive(family), "nothing is left", seconds=5)
