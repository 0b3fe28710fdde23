"""A limit of storage, on engines that can and cannot enforce it."""

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from docker import APIClient
from docker.errors import APIError

from clusters.drivers.base import Cause, ContainerSpec, DriverError
from clusters.drivers.docker import containers, probing
from clusters.drivers.docker.errors import refusal
from tests.support.docker_bench import DockerBench
from tests.support.driver_contract import Program

SPEC = ContainerSpec(uuid4(), "train:1", (), {}, cpu_milli=100, ram_mib=64, gpu=0)


@pytest.mark.parametrize(("mib", "option"), [(None, None), (2048, {"size": "2048M"})])
def test_the_engine_gets_the_limit(mib: int | None, option: Mapping[str, str] | None) -> None:
    client = APIClient(base_url="tcp://127.0.0.1:1", version="1.41")

    made = containers.settings(client, replace(SPEC, ephemeral_storage_mib=mib), uuid4(), "none")

    assert made["host_config"].get("StorageOpt") == option


@pytest.mark.parametrize(
    ("status", "checks"),
    [
        ([["Backing Filesystem", "xfs"]], True),
        ([["driver-type", "io.containerd.snapshotter.v1"]], False),
        (None, True),
    ],
)
def test_the_image_store_of_containerd_would_ignore_the_limit(status: Any, checks: bool) -> None:
    engine: Any = SimpleNamespace(info=lambda: {"DriverStatus": status})

    assert probing.checks_storage_limits(engine) is checks


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_a_refused_limit_has_the_remedy(driver: str) -> None:
    why = f"--storage-opt is supported only for {driver} over xfs with 'pquota' mount option"

    error = refusal(APIError("500", explanation=why))

    assert (error.cause, error.retriable) == (Cause.INVALID_SPEC, False)
    assert "leave `ephemeral_storage_mib` out, or request another cluster" in str(error)


@pytest.mark.docker
def test_an_engine_that_cannot_limit_storage_refuses_and_keeps_nothing(
    docker_bench: DockerBench,
) -> None:
    spec = docker_bench.spec(Program.SLEEPS, docker_bench.next_run())
    limited = replace(spec, ephemeral_storage_mib=100)

    with pytest.raises(DriverError, match="leave `ephemeral_storage_mib` out") as refused:
        docker_bench.driver.start(limited, docker_bench.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.INVALID_SPEC, False)
    assert docker_bench.see(spec.uid) is None
    docker_bench.driver.start(spec, docker_bench.now())
    assert docker_bench.see(spec.uid)
