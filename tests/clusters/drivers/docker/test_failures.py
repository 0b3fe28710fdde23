"""Engines that stop, die or hang, and workers that die between two calls."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from clusters.drivers.base import Cause, DriverError, Phase, uid_by_run
from clusters.drivers.docker.client import TIMEOUT_S
from clusters.drivers.docker.containers import settings
from clusters.drivers.docker.driver import DockerDriver
from clusters.drivers.docker.endings import recorded
from clusters.drivers.docker.labels import CONNECTION, DEVICES, RUN
from clusters.models import Connection
from tests.fixtures.docker import NewEngine
from tests.support.docker_bench import DockerBench
from tests.support.docker_engine import Engine
from tests.support.docker_image import IMAGE
from tests.support.driver_contract import Program

pytestmark = pytest.mark.docker

DOWN: dict[str, Callable[[Engine], None]] = {"stopped": Engine.stop, "killed": Engine.kill}


def unreachable(bench: DockerBench) -> DriverError:
    with pytest.raises(DriverError) as failed:
        bench.driver.observe(bench.now())
    return failed.value


@pytest.mark.parametrize("way", DOWN)
def test_a_stopped_engine_is_unreachable_until_it_is_started(
    docker_bench: DockerBench, way: str
) -> None:
    docker_bench.start(Program.SUCCEEDS)
    DOWN[way](docker_bench.engine)

    error = unreachable(docker_bench)

    assert (error.cause, error.retriable) == (Cause.UNREACHABLE, True)
    assert "cannot be reached" in str(error)
    docker_bench.engine.start()
    assert len(docker_bench.driver.observe(docker_bench.now())) == 1


def test_an_engine_that_hangs_soon_becomes_unreachable(docker_bench: DockerBench) -> None:
    docker_bench.driver.observe(docker_bench.now())
    docker_bench.engine.pause()
    began = time.monotonic()

    error = unreachable(docker_bench)

    assert (error.cause, error.retriable) == (Cause.UNREACHABLE, True)
    assert "does not answer" in str(error)
    assert time.monotonic() - began < TIMEOUT_S + 2
    docker_bench.engine.resume()
    assert docker_bench.driver.observe(docker_bench.now()) == []


def test_an_engine_that_hangs_during_a_response_becomes_unreachable(
    docker_bench: DockerBench,
) -> None:
    uid = docker_bench.run("yes 0123456789 | head -c 8000000")
    docker_bench.exited(uid)
    pieces = docker_bench.driver.logs(uid)
    assert next(pieces)
    docker_bench.engine.pause()

    with pytest.raises(DriverError, match="does not answer") as failed:
        list(pieces)

    assert failed.value.cause is Cause.UNREACHABLE


def test_reading_the_events_of_an_engine_that_hangs_times_out(docker_bench: DockerBench) -> None:
    api = docker_bench.engine.client.api
    docker_bench.engine.pause()

    with pytest.raises(requests.Timeout):
        recorded(api, until=time.time())


def test_a_missing_socket_is_reported(tmp_path: Path) -> None:
    driver = DockerDriver(Connection(cluster_id=1, endpoint=f"unix://{tmp_path}/docker.sock"))

    with pytest.raises(DriverError, match="No such file or directory") as failed:
        driver.probe()

    assert failed.value.cause is Cause.UNREACHABLE


@pytest.mark.parametrize("way", DOWN)
def test_a_container_that_ends_with_its_engine_is_a_failure_of_the_engine(
    docker_bench: DockerBench, way: str
) -> None:
    """The exit code does not matter, because the engine ended it."""
    sleeping = docker_bench.start(Program.SLEEPS)
    graceful = docker_bench.run("trap 'exit 0' TERM; while true; do sleep 0.1; done")
    DOWN[way](docker_bench.engine)
    docker_bench.engine.start()

    endings = [docker_bench.exited(uid) for uid in (sleeping, graceful)]

    assert all(ending.cause and ending.cause.is_engines for ending in endings)


def test_a_container_that_ended_before_its_engine_ended_of_its_own_accord(
    docker_bench: DockerBench,
) -> None:
    uid = docker_bench.start(Program.FAILS)
    docker_bench.exited(uid)

    for _ in range(3):
        docker_bench.start(Program.SUCCEEDS)

    assert docker_bench.exited(uid).cause is None


@pytest.mark.parametrize("way", DOWN)
def test_with_live_restore_containers_survive_a_restart_of_the_engine(
    new_engine: NewEngine, way: str
) -> None:
    bench = DockerBench(new_engine(live_restore=True))
    sleeping = bench.start(Program.SLEEPS)
    failing = bench.run("until [ -e /tmp/go ]; do sleep 0.05; done; exit 3")
    DOWN[way](bench.engine)
    bench.engine.start()
    # Not before: of a container that ends while the engine is down, the exit code may be lost.
    api = bench.engine.client.api
    api.exec_start(api.exec_create(bench.inspect(failing)["Id"], ["touch", "/tmp/go"])["Id"])

    seen = bench.see(sleeping)
    ending = bench.exited(failing)

    assert seen
    assert seen.phase is Phase.RUNNING
    assert (ending.exit_code, ending.cause) == (3, None)


def test_a_container_that_another_client_stopped_did_not_fail(docker_bench: DockerBench) -> None:
    uid = docker_bench.start(Program.SLEEPS)
    docker_bench.engine.client.containers.get(docker_bench.inspect(uid)["Id"]).stop(timeout=5)

    assert docker_bench.exited(uid).cause is Cause.ENGINE_EVICTED


def test_a_signal_other_than_a_stop_does_not_count_as_the_cause_of_an_ending(
    docker_bench: DockerBench,
) -> None:
    uid = docker_bench.run("trap 'exit 7' HUP; echo ready; while true; do sleep 0.1; done")
    docker_bench.wait_for(lambda: docker_bench.logs(uid) == b"ready\n")
    docker_bench.engine.client.containers.get(docker_bench.inspect(uid)["Id"]).kill("HUP")

    ending = docker_bench.exited(uid)

    assert (ending.exit_code, ending.cause) == (7, None)


def test_a_stop_survives_a_restart_of_the_engine(new_engine: NewEngine) -> None:
    bench = DockerBench(new_engine(live_restore=True))
    uid = bench.start(Program.IS_STUBBORN)
    bench.stop(uid, 600)
    deadline = bench.see(uid)
    bench.engine.kill()
    bench.engine.start()

    again = bench.see(uid)

    assert deadline
    assert again
    assert again.until == deadline.until


def test_a_container_that_was_created_but_not_started_is_removed_and_started_again(
    docker_bench: DockerBench,
) -> None:
    spec = docker_bench.spec(Program.SLEEPS, docker_bench.next_run())
    api = docker_bench.engine.client.api
    api.create_container(**settings(api, spec, docker_bench.connection.uid, "none"))

    assert docker_bench.driver.observe(docker_bench.now()) == []
    assert docker_bench.engine.client.containers.list(all=True) == []

    docker_bench.driver.start(spec, docker_bench.now())
    assert docker_bench.see(spec.uid)


def test_a_start_continues_after_another_worker_died(docker_bench: DockerBench) -> None:
    spec = docker_bench.spec(Program.SLEEPS, docker_bench.next_run())
    api = docker_bench.engine.client.api
    made = api.create_container(**settings(api, spec, docker_bench.connection.uid, "none"))

    docker_bench.driver.start(spec, docker_bench.now())

    assert docker_bench.inspect(spec.uid)["Id"] == made["Id"]
    assert docker_bench.see(spec.uid)


def test_a_container_from_before_container_uids_is_identified_by_its_run(
    docker_bench: DockerBench,
) -> None:
    """It is not confused with the container of a run with the same id that has a uid."""
    bench = docker_bench
    bench.engine.client.containers.run(
        IMAGE, ["sleep", "600"], detach=True, network_mode="none", name="mlops-former-run-7",
        labels={CONNECTION: str(bench.connection.uid), RUN: "7", DEVICES: ""},
    )  # fmt: skip
    again = replace(bench.spec(Program.SLEEPS, uuid4()), run_id=7)
    bench.driver.start(again, bench.now())
    former = uid_by_run(7)
    assert {o.uid for o in bench.driver.observe(bench.now())} == {former, again.uid}

    bench.stopped(former, 0)
    bench.driver.remove(former)

    assert [o.uid for o in bench.driver.observe(bench.now())] == [again.uid]
