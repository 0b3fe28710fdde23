from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from clusters.drivers.base import ContainerSpec, Phase
from clusters.drivers.simulated import MISSING_COMMAND, MISSING_IMAGE, SimulatedDriver
from clusters.models import Cluster
from clusters.services import Capacity, create
from orgs.models import Organization
from tests.support.driver_contract import Bench, DriverContract, MemoryContract, Program

pytestmark = pytest.mark.django_db

_IMAGES = {Program.HAS_NO_IMAGE: MISSING_IMAGE}
_COMMANDS = {Program.HAS_NO_COMMAND: (MISSING_COMMAND,)}
_ENVS = {
    Program.SUCCEEDS: {"SIMULATE_EXIT_CODE": "0"},
    Program.FAILS: {"SIMULATE_EXIT_CODE": "3"},
    Program.SPEAKS: {"SIMULATE_EXIT_CODE": "0", "SIMULATE_LOG": "one\ntwo\nthree\n"},
    Program.IS_STUBBORN: {"SIMULATE_STOP_SECONDS": "1000", "SIMULATE_LOG": "ready\n"},
    Program.EATS_MEMORY: {"SIMULATE_OUT_OF_MEMORY": "1"},
}
_RAM_MIB = {Program.IS_TOO_LARGE: 2**30}


class SimulatedBench(Bench):
    def __init__(self, cluster: Cluster, others: Cluster) -> None:
        self.driver = SimulatedDriver(cluster)
        self._others = SimulatedDriver(others)
        self._now = timezone.now()

    def spec(self, program: Program, uid: UUID, devices: tuple[str, ...] = ()) -> ContainerSpec:
        return ContainerSpec(
            uid,
            image=_IMAGES.get(program, "any"),
            command=_COMMANDS.get(program, ()),
            env=_ENVS.get(program, {}),
            cpu_milli=100,
            ram_mib=_RAM_MIB.get(program, 64),
            gpu=0,
        )

    def foreign(self, uid: UUID) -> Callable[[], bool]:
        self._others.start(self.spec(Program.SLEEPS, uid), self._now)
        return lambda: [o.phase for o in self._others.observe(self._now)] == [Phase.RUNNING]

    def now(self) -> datetime:
        return self._now

    def pass_time(self) -> None:
        self._now += timedelta(seconds=0.5)


class TestSimulated(DriverContract, MemoryContract):
    @pytest.fixture
    def bench(self, acme: Organization) -> Bench:
        capacity = Capacity(8000, 16384, 0)
        return SimulatedBench(
            *(
                create(actor="alice", organization=acme, name=name, capacity=capacity)
                for name in ("ours", "theirs")
            )
        )
