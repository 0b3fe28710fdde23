"""A limit of storage, on engines that can and cannot enforce it."""

from collections.abc import Mapping
from dataclasses import replace
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
    ("driver", "status", "can"),
    [
        ("overlay2", [["Backing Filesystem", "xfs"], ["Supports d_type", "true"]], True),
        ("overlay2", [["Backing Filesystem", "extfs"]], False),
        ("overlay2", None, False),
        ("overlayfs", [["driver-type", "io.containerd.snapshotter.v1"]], False),
        ("btrfs", [["Build Version", "Btrfs v4.20.1"]], True),
        ("zfs", None, True),
    ],
)
def test_what_an_engine_says_of_its_storage(driver: str, status: Any, can: bool) -> None:
    assert probing.can_limit_storage({"Driver": driver, "DriverStatus": status}) is can


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_a_refused_limit_has_the_remedy(driver: str) -> None:
    why = f"--storage-opt is supported only for {driver} over xfs with 'pquota' mount option"

    error = refusal(APIError("500", explanation=why))

    assert (error.cause, error.retriable) == (Cause.NO_STORAGE_LIMIT, False)
    assert "leave `ephemeral_storage_mib` out, or request another cluster" in str(error)


@pytest.mark.docker
def test_an_engine_that_cannot_limit_storage_refuses_and_keeps_nothing(
    docker_bench: DockerBench,
) -> None:
    spec = docker_bench.spec(Program.SLEEPS, docker_bench.next_run())
    limited = replace(spec, ephemeral_storage_mib=100)

    assert docker_bench.driver.probe().can_limit_storage is False
    with pytest.raises(DriverError, match="leave `ephemeral_storage_mib` out") as refused:
        docker_bench.driver.start(limited, docker_bench.now())

    assert (refused.value.cause, refused.value.retriable) == (Cause.NO_STORAGE_LIMIT, False)
    assert docker_bench.see(spec.uid) is None
    docker_bench.driver.start(spec, docker_bench.now())
    assert docker_bench.see(spec.uid)
