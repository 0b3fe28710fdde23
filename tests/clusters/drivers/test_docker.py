"""The Docker driver on a real engine."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import uuid4

import pytest
from django.utils import timezone

from clusters.drivers.base import ContainerSpec
from clusters.drivers.docker import DockerDriver
from clusters.drivers.docker.labels import labels
from clusters.models import Connection
from tests.clusters.drivers.contract import (
    Bench,
    DeviceContract,
    DriverContract,
    MemoryContract,
    Program,
    WatchContract,
)
from tests.engines.engine import Engine
from tests.engines.image import IMAGE
from tests.engines.registry import Registry

pytestmark = pytest.mark.docker

_COMMANDS = {
    Program.SLEEPS: ("sleep", "600"),
    Program.SUCCEEDS: ("true",),
    Program.FAILS: ("sh", "-c", "exit 3"),
    Program.SPEAKS: ("printf", "one\\ntwo\\nthree\\n"),
    Program.IS_STUBBORN: ("sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"),
    Program.HAS_NO_COMMAND: ("no-such-program",),
    Program.EATS_MEMORY: ("sh", "-c", "exec tail /dev/zero"),
}
_RAM_MIB = {Program.IS_TOO_LARGE: 2**30, Program.EATS_MEMORY: 16}


class DockerBench(Bench):
    def __init__(self, engine: Engine, registry: Registry) -> None:
        self.engine = engine
        self.registry = registry
        self.connection = Connection(
            cluster_id=1, endpoint=engine.socket, network=Connection.Network.NONE
        )
        self.driver: DockerDriver = DockerDriver(self.connection)

    def spec(self, program: Program, run_id: int, devices: tuple[str, ...] = ()) -> ContainerSpec:
        missing = f"{self.registry.host}/missing:1"
        return ContainerSpec(
            run_id,
            image=missing if program is Program.HAS_NO_IMAGE else IMAGE,
            command=_COMMANDS.get(program, ("true",)),
            env={},
            cpu_milli=100,
            ram_mib=_RAM_MIB.get(program, 64),
            gpu=len(devices),
            devices=devices,
        )

    def foreign(self, run_id: int) -> Callable[[], bool]:
        container = self.engine.client.containers.run(
            IMAGE, ["sleep", "600"], detach=True, network_mode="none",
            labels=labels(uuid4(), run_id, ()),
        )  # fmt: skip

        def still_runs() -> bool:
            container.reload()
            return bool(container.status == "running")

        return still_runs

    def now(self) -> datetime:
        return timezone.now()

    def pass_time(self) -> None:
        time.sleep(0.02)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def bench(engine: Engine, registry: Registry, embedded_servers: None) -> DockerBench:
    return DockerBench(engine, registry)


class TestDocker(DriverContract, DeviceContract, MemoryContract, WatchContract):
    @pytest.fixture
    def bench(self, bench: DockerBench) -> Bench:
        return bench
