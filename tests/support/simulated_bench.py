"""A simulated engine under test."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from clusters.drivers.base import ContainerSpec, Phase
from clusters.drivers.simulated.driver import MISSING_COMMAND, MISSING_IMAGE, SimulatedDriver
from clusters.models import Connection
from tests.support.driver_contract import Bench, Program

_IMAGES = {Program.HAS_NO_IMAGE: MISSING_IMAGE}
_COMMANDS = {Program.HAS_NO_COMMAND: (MISSING_COMMAND,)}
_ENVS = {
    Program.SUCCEEDS: {"SIMULATE_EXIT_CODE": "0"},
    Program.FAILS: {"SIMULATE_EXIT_CODE": "3"},
    Program.SPEAKS: {"SIMULATE_EXIT_CODE": "0", "SIMULATE_LOG": "one\ntwo\nthree\n"},
    Program.IS_OBEDIENT: {"SIMULATE_LOG": "ready\n"},
    Program.IS_STUBBORN: {"SIMULATE_STOP_SECONDS": "1000", "SIMULATE_LOG": "ready\n"},
    Program.EATS_MEMORY: {"SIMULATE_OUT_OF_MEMORY": "1"},
}
_RAM_MIB = {Program.IS_TOO_LARGE: 2**30}


class SimulatedBench(Bench):
    """A simulated engine with the bench's clock, on one of two connections."""

    def __init__(
        self, own: Connection, other: Connection, made: type[SimulatedDriver] = SimulatedDriver
    ) -> None:
        self.driver = made(own)
        self._others = made(other)
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
        return lambda: all(o.phase is not Phase.EXITED for o in self._others.observe(self._now))

    def now(self) -> datetime:
        return self._now

    def pass_time(self) -> None:
        self._now += timedelta(seconds=0.5)
