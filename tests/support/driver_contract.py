"""The contracts of drivers: the same tests for every engine.

An engine's test class inherits the contracts that apply and provides a fixture `bench`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from threading import Thread
from uuid import UUID, uuid4

import pytest

from clusters.drivers.base import Cause, ContainerSpec, Driver, DriverError, Observation, Phase

_PATIENCE_S = 30
_KILLED = 137


class Program(Enum):
    """The behaviour of a container."""

    SLEEPS = auto()
    """Runs until it is stopped, and then ends at once."""
    SUCCEEDS = auto()
    """Exits at once with 0."""
    FAILS = auto()
    """Exits at once with 3."""
    SPEAKS = auto()
    """Writes `one`, `two` and `three`, a line each, and exits with 0."""
    IS_OBEDIENT = auto()
    """Writes `ready`, sleeps, and ends at once when it is stopped."""
    IS_STUBBORN = auto()
    """Writes `ready`, sleeps, and ignores a stop."""
    HAS_NO_IMAGE = auto()
    HAS_NO_COMMAND = auto()
    IS_TOO_LARGE = auto()
    """Requests more memory than the engine has."""
    EATS_MEMORY = auto()


class Bench(ABC):
    """An engine under test."""

    driver: Driver

    @abstractmethod
    def spec(self, program: Program, uid: UUID, devices: tuple[str, ...] = ()) -> ContainerSpec:
        """Return a container with this behaviour on this engine."""

    @abstractmethod
    def foreign(self, uid: UUID) -> Callable[[], bool]:
        """Run a container of another connection with the product's labels and this uid.

        Return a function that returns whether it still runs.
        """

    @abstractmethod
    def now(self) -> datetime:
        """Return the time to pass to the driver."""

    @abstractmethod
    def pass_time(self) -> None:
        """Let a little time pass."""

    # --- Steps of the tests -----------------------------------------------------------------------

    def start(self, program: Program, *, devices: tuple[str, ...] = ()) -> UUID:
        """Start a container; return its uid once it is no longer preparing."""
        uid = uuid4()
        spec = self.spec(program, uid, devices)
        self.driver.start(spec, self.now())
        self.wait_for(lambda: (seen := self.see(uid)) and seen.phase is not Phase.PREPARING)
        # Before that, process 1 of the container ignores a stop, or does not ignore it yet.
        if program in (Program.IS_OBEDIENT, Program.IS_STUBBORN):
            self.wait_for(lambda: self.logs(uid) == b"ready\n")
        return uid

    def stop(self, uid: UUID, grace_seconds: int) -> None:
        self.driver.stop(uid, grace_seconds, self.now())

    def see(self, uid: UUID) -> Observation | None:
        found = [o for o in self.driver.observe(self.now()) if o.uid == uid]
        assert len(found) <= 1
        return found[0] if found else None

    def exited(self, uid: UUID) -> Observation:
        """Wait until the container has ended, and return the observation."""
        seen: list[Observation] = []

        def has_exited() -> bool:
            found = self.see(uid)
            assert found, "it vanished"
            seen.append(found)
            return found.phase is Phase.EXITED

        self.wait_for(has_exited)
        return seen[-1]

    def stopped(self, uid: UUID, grace_seconds: int) -> Observation:
        """Stop the container repeatedly, as reconcile does, and return its ending."""

        def has_exited() -> bool:
            self.stop(uid, grace_seconds)
            found = self.see(uid)
            return found is not None and found.phase is Phase.EXITED

        self.wait_for(has_exited)
        return self.exited(uid)

    def failure(self, program: Program) -> tuple[Cause | None, str]:
        """Start a container that cannot run; return why, from the start or from the container."""
        spec = self.spec(program, uuid4())
        reported: list[tuple[Cause | None, str]] = []

        def has_failed() -> bool:
            try:
                self.driver.start(spec, self.now())
            except DriverError as error:
                if error.cause is not Cause.FETCHING_IMAGE:
                    reported.append((error.cause, str(error)))
            seen = self.see(spec.uid)
            if seen and seen.cause:
                reported.append((seen.cause, seen.message))
            return bool(reported)

        self.wait_for(has_failed)
        self.driver.remove(spec.uid)
        return reported[0]

    def logs(self, uid: UUID, *, tail: int | None = None, follow: bool = False) -> bytes:
        return b"".join(self.driver.logs(uid, tail=tail, follow=follow))

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "It does not come true."
            self.pass_time()


class DriverContract:
    """All engines."""

    @pytest.fixture
    def bench(self) -> Bench:
        raise NotImplementedError

    # --- Start ------------------------------------------------------------------------------------

    def test_a_started_container_runs_under_its_uid(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)

        seen = bench.see(uid)
        assert seen
        assert (seen.phase, seen.exit_code, seen.cause) == (Phase.RUNNING, None, None)

    def test_starting_again_creates_no_second_container(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)

        bench.driver.start(bench.spec(Program.SLEEPS, uid), bench.now())

        assert [o.uid for o in bench.driver.observe(bench.now())] == [uid]

    def test_starting_an_exited_container_does_not_run_it_again(self, bench: Bench) -> None:
        uid = bench.start(Program.FAILS)
        before = bench.exited(uid)

        bench.driver.start(bench.spec(Program.FAILS, uid), bench.now())

        assert bench.see(uid) == before

    def test_several_are_started_at_once_and_each_has_its_own_error(self, bench: Bench) -> None:
        uids = [uuid4() for _ in range(4)]
        there = bench.start(Program.SLEEPS)
        specs = [bench.spec(Program.SLEEPS, uid) for uid in (*uids[:3], there)]
        specs.insert(1, bench.spec(Program.IS_TOO_LARGE, uids[3]))

        errors = bench.driver.start_all(specs, bench.now())

        refused = uids[3] if errors[1] else None  # some engines refuse only after the start
        assert [error for n, error in enumerate(errors) if n != 1] == [None] * 4
        expected = {*uids, there} - {refused}
        bench.wait_for(lambda: {o.uid for o in bench.driver.observe(bench.now())} == expected)

    def test_starting_a_stopping_container_creates_no_second_one(self, bench: Bench) -> None:
        uid = bench.start(Program.IS_STUBBORN)
        bench.stop(uid, 60)

        bench.driver.start(bench.spec(Program.IS_STUBBORN, uid), bench.now())

        assert [o.uid for o in bench.driver.observe(bench.now())] == [uid]

    def test_a_reused_run_id_with_another_uid_does_not_find_the_old_container(
        self, bench: Bench
    ) -> None:
        former, again = (replace(bench.spec(Program.SLEEPS, uuid4()), run_id=7) for _ in range(2))
        bench.driver.start(former, bench.now())

        assert bench.see(again.uid) is None
        bench.driver.start(again, bench.now())
        bench.wait_for(lambda: bench.see(again.uid))
        bench.stopped(again.uid, 0)
        bench.driver.remove(again.uid)
        bench.wait_for(lambda: bench.see(again.uid) is None)

        seen = bench.see(former.uid)
        assert seen
        assert (seen.phase is not Phase.EXITED, seen.run_id) == (True, 7)

    def test_each_run_has_its_own_container(self, bench: Bench) -> None:
        first, second = bench.start(Program.SLEEPS), bench.start(Program.FAILS)

        bench.exited(second)

        assert {o.uid for o in bench.driver.observe(bench.now())} == {first, second}

    # --- Endings ----------------------------------------------------------------------------------

    @pytest.mark.parametrize(("program", "code"), [(Program.SUCCEEDS, 0), (Program.FAILS, 3)])
    def test_an_exit_has_its_code_and_no_cause(
        self, bench: Bench, program: Program, code: int
    ) -> None:
        uid = bench.start(program)

        ending = bench.exited(uid)

        assert (ending.exit_code, ending.cause) == (code, None)

    def test_an_ending_has_its_time(self, bench: Bench) -> None:
        before = bench.now()
        uid = bench.start(Program.SUCCEEDS)

        ending = bench.exited(uid)

        assert ending.started_at
        assert ending.exited_at
        assert before <= ending.started_at <= ending.exited_at <= bench.now()

    def test_a_missing_image_is_reported(self, bench: Bench) -> None:
        cause, message = bench.failure(Program.HAS_NO_IMAGE)

        assert cause is Cause.IMAGE_NOT_FOUND
        assert "correct `image`" in message

    def test_a_missing_command_is_reported(self, bench: Bench) -> None:
        cause, message = bench.failure(Program.HAS_NO_COMMAND)

        assert cause is Cause.COMMAND_NOT_FOUND
        assert "`command`" in message

    def test_a_request_beyond_the_engine_s_capacity_is_reported(self, bench: Bench) -> None:
        cause, message = bench.failure(Program.IS_TOO_LARGE)

        assert cause is Cause.OVER_CAPACITY
        assert "request less" in message

    @pytest.mark.parametrize("program", [Program.HAS_NO_IMAGE, Program.IS_TOO_LARGE])
    def test_nothing_is_left_of_a_container_that_could_not_run(
        self, bench: Bench, program: Program
    ) -> None:
        bench.failure(program)

        bench.wait_for(lambda: not bench.driver.observe(bench.now()))

    # --- Stop -------------------------------------------------------------------------------------

    def test_a_container_that_ends_on_a_stop_was_not_killed(self, bench: Bench) -> None:
        uid = bench.start(Program.IS_OBEDIENT)

        ending = bench.stopped(uid, 60)

        assert ending.exit_code != _KILLED
        assert ending.cause is None

    def test_a_stop_returns_before_the_container_has_ended(self, bench: Bench) -> None:
        uid = bench.start(Program.IS_STUBBORN)

        bench.stop(uid, 60)

        seen = bench.see(uid)
        assert seen
        assert seen.phase is Phase.RUNNING

    def test_a_container_that_ignores_a_stop_is_killed_only_after_the_grace(
        self, bench: Bench
    ) -> None:
        uid = bench.start(Program.IS_STUBBORN)
        asked = bench.now()

        ending = bench.stopped(uid, 1)

        assert ending.exit_code == _KILLED
        assert (bench.now() - asked).total_seconds() >= 1

    def test_a_container_without_grace_is_killed_at_once(self, bench: Bench) -> None:
        uid = bench.start(Program.IS_STUBBORN)

        ending = bench.stopped(uid, 0)

        assert ending.exit_code == _KILLED

    def test_a_second_stop_may_shorten_the_grace(self, bench: Bench) -> None:
        uid = bench.start(Program.IS_STUBBORN)
        bench.stop(uid, 600)

        assert bench.stopped(uid, 0).exit_code == _KILLED

    def test_stopping_an_exited_or_unknown_container_does_nothing(self, bench: Bench) -> None:
        uid = bench.start(Program.FAILS)
        before = bench.exited(uid)

        bench.stop(uid, 0)
        bench.stop(uuid4(), 0)

        assert bench.see(uid) == before

    # --- Remove -----------------------------------------------------------------------------------

    def test_a_removed_container_is_no_longer_observed(self, bench: Bench) -> None:
        uid = bench.start(Program.SUCCEEDS)
        bench.exited(uid)

        bench.driver.remove(uid)
        bench.wait_for(lambda: bench.see(uid) is None)

        bench.driver.remove(uid)

    # --- Logs -------------------------------------------------------------------------------------

    def test_the_logs_contain_the_output(self, bench: Bench) -> None:
        uid = bench.start(Program.SPEAKS)
        bench.exited(uid)

        assert bench.logs(uid) == b"one\ntwo\nthree\n"

    def test_the_tail_contains_the_last_lines(self, bench: Bench) -> None:
        uid = bench.start(Program.SPEAKS)
        bench.exited(uid)

        assert bench.logs(uid, tail=2) == b"two\nthree\n"
        assert bench.logs(uid, tail=0) == b""

    def test_following_ends_with_the_container(self, bench: Bench) -> None:
        uid = bench.start(Program.SPEAKS)

        assert bench.logs(uid, follow=True) == b"one\ntwo\nthree\n"

    def test_a_follower_of_a_silent_container_can_stop(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)
        pieces = bench.driver.logs(uid, tail=0, follow=True)

        assert next(pieces) == b""
        pieces.close()  # type: ignore[attr-defined]

    def test_an_unknown_container_has_no_logs(self, bench: Bench) -> None:
        assert bench.logs(uuid4()) == b""

    # --- Other containers, and the probe ----------------------------------------------------------

    def test_containers_of_other_connections_are_left_alone(self, bench: Bench) -> None:
        uid = uuid4()
        still_runs = bench.foreign(uid)

        assert bench.driver.observe(bench.now()) == []
        assert bench.logs(uid) == b""
        bench.stop(uid, 0)
        bench.driver.remove(uid)

        assert still_runs()

    def test_a_probe_returns_the_engine_s_amounts(self, bench: Bench) -> None:
        probe = bench.driver.probe()

        assert probe.engine_id == bench.driver.probe().engine_id
        assert probe.version
        assert probe.cpu_milli >= 1000
        assert probe.ram_mib >= 64


class DeviceContract:
    """Engines on which the reconciler chooses the GPUs."""

    def test_a_container_has_its_assigned_devices(self, bench: Bench) -> None:
        first = bench.start(Program.SLEEPS, devices=("0", "2"))
        second = bench.start(Program.SLEEPS, devices=("1",))

        devices = {o.uid: o.devices for o in bench.driver.observe(bench.now())}

        assert devices == {first: ("0", "2"), second: ("1",)}


class MemoryContract:
    """Engines that report why the kernel killed a container."""

    def test_running_out_of_memory_is_reported(self, bench: Bench) -> None:
        uid = bench.start(Program.EATS_MEMORY)

        ending = bench.exited(uid)

        assert ending.cause is Cause.OUT_OF_MEMORY
        assert ending.exit_code == _KILLED
        assert "`ram_mib`" in ending.message


class MarkerContract:
    """Engines that other clients may use, and that outlive the database."""

    def test_a_marker_replaces_another(self, bench: Bench) -> None:
        first, second = uuid4(), uuid4()
        assert bench.driver.markers() == frozenset()

        for _ in range(2):
            bench.driver.mark(first, instead_of=[])
            assert bench.driver.markers() == frozenset([first])
        bench.driver.mark(second, instead_of=[first])

        assert bench.driver.markers() == frozenset([second])


class WatchContract:
    """Engines that report changes."""

    def test_a_change_is_reported(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)
        reported: list[int] = []

        def listen() -> None:
            for _ in bench.driver.watch():
                reported.append(1)
                return

        listener = Thread(target=listen, daemon=True)
        listener.start()

        def is_reported() -> bool:
            # Repeated, because it is unknown when the watch has begun.
            bench.driver.remove(bench.stopped(bench.start(Program.SLEEPS), 0).uid)
            return bool(reported)

        bench.wait_for(is_reported)
        listener.join(_PATIENCE_S)
        assert bench.see(uid)
