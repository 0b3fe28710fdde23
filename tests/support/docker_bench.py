"""A Docker Engine under test."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from clusters.drivers.base import ContainerSpec
from clusters.drivers.docker.driver import DockerDriver
from clusters.drivers.docker.labels import label_filter, labels
from clusters.models import Connection
from tests.support.docker_engine import Engine
from tests.support.docker_image import IMAGE
from tests.support.driver_contract import Bench, Program
from tests.support.registry import Registry

_COMMANDS = {
    Program.SLEEPS: ("sleep", "600"),
    Program.SUCCEEDS: ("true",),
    Program.FAILS: ("sh", "-c", "exit 3"),
    Program.SPEAKS: ("printf", "one\\ntwo\\nthree\\n"),
    Program.IS_OBEDIENT: ("sh", "-c", "echo ready; exec sleep 600"),
    Program.IS_STUBBORN: ("sh", "-c", "trap '' TERM; echo ready; exec sleep 600"),
    Program.HAS_NO_COMMAND: ("no-such-program",),
    Program.EATS_MEMORY: ("sh", "-c", "exec tail /dev/zero"),
}
_RAM_MIB = {Program.IS_TOO_LARGE: 2**30, Program.EATS_MEMORY: 16}


class DockerBench(Bench):
    def __init__(
        self,
        engine: Engine,
        registry: Registry | None = None,
        network: str = Connection.Network.NONE,
        connection: Connection | None = None,
    ) -> None:
        self.engine = engine
        self._missing = f"{registry.host}/missing:1" if registry else ""
        self.connection = connection or Connection(
            cluster_id=1, endpoint=engine.socket, network=network
        )
        self.driver: DockerDriver = DockerDriver(self.connection)

    def spec(self, program: Program, uid: UUID, devices: tuple[str, ...] = ()) -> ContainerSpec:
        return ContainerSpec(
            uid,
            image=self._missing if program is Program.HAS_NO_IMAGE else IMAGE,
            command=_COMMANDS.get(program, ("true",)),
            env={},
            cpu_milli=100,
            ram_mib=_RAM_MIB.get(program, 64),
            gpu=len(devices),
            devices=devices,
        )

    def foreign(self, uid: UUID) -> Callable[[], bool]:
        container = self.engine.client.containers.run(
            IMAGE, ["sleep", "600"], detach=True, network_mode="none",
            labels=labels(uuid4(), self.spec(Program.SLEEPS, uid)),
        )  # fmt: skip

        def still_runs() -> bool:
            container.reload()
            return bool(container.status == "running")

        return still_runs

    def next_run(self) -> UUID:
        return uuid4()

    def run(self, script: str) -> UUID:
        """Run a shell script that does not end; return the container's uid."""
        spec = self.spec(Program.SLEEPS, self.next_run())
        self.driver.start(replace(spec, command=("sh", "-c", script)), self.now())
        return spec.uid

    def inspect(self, uid: UUID) -> dict[str, Any]:
        """Return the engine's full description of a container."""
        filters = label_filter(self.connection.uid, uid)
        (container,) = self.engine.client.containers.list(all=True, filters=filters)
        return dict(container.attrs)

    def address(self, uid: UUID) -> str:
        networks = self.inspect(uid)["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def now(self) -> datetime:
        return timezone.now()

    def pass_time(self) -> None:
        time.sleep(0.02)
