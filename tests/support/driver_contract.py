"""What every engine's driver has to do: the same tests for each.

A test class of an engine inherits the contracts that it can keep and gives a fixture `bench`.
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
    """What a container does."""

    SLEEPS = auto()
    """Until it is stopped, which it honours at once."""
    SUCCEEDS = auto()
    """Exits at once with 0."""
    FAILS = auto()
    """Exits at once with 3."""
    SPEAKS = auto()
    """Writes `one`, `two` and `three`, a line each, and exits with 0."""
    IS_STUBBORN = auto()
    """Writes `ready`, sleeps, and does not heed a stop."""
    HAS_NO_IMAGE = auto()
    HAS_NO_COMMAND = auto()
    IS_TOO_LARGE = auto()
    """Asks for more memory than the engine has."""
    EATS_MEMORY = auto()


class Bench(ABC):
    """An engine under test."""

    driver: Driver

    @abstractmethod
    def spec(self, program: Program, uid: UUID, devices: tuple[str, ...] = ()) -> ContainerSpec:
        """Return a container that does so on this engine."""

    @abstractmethod
    def foreign(self, uid: UUID) -> Callable[[], bool]:
        """Run somebody else's container, with our labels and that uid, but of another connection.

        Return a function that says whether it still runs.
        """

    @abstractmethod
    def now(self) -> datetime:
        """Return the time that the driver is told."""

    @abstractmethod
    def pass_time(self) -> None:
        """Let a little time pass."""

    # --- What the tests do with it ----------------------------------------------------------------

    def start(self, program: Program, *, devices: tuple[str, ...] = ()) -> UUID:
        """Start a container; return its uid when it no longer prepares."""
        uid = uuid4()
        spec = self.spec(program, uid, devices)
        self.driver.start(spec, self.now())
        self.wait_for(lambda: (seen := self.see(uid)) and seen.phase is not Phase.PREPARING)
        if program is Program.IS_STUBBORN:  # only now
            self.wait_for(lambda: self.logs(uid) == b"ready\n")
        return uid

    def stop(self, uid: UUID, grace_seconds: int) -> None:
        self.driver.stop(uid, grace_seconds, self.now())

    def see(self, uid: UUID) -> Observation | None:
        found = [o for o in self.driver.observe(self.now()) if o.uid == uid]
        assert len(found) <= 1
        return found[0] if found else None

    def exited(self, uid: UUID) -> Observation:
        """Return how it ended, when it has."""
        seen: list[Observation] = []

        def has_exited() -> bool:
            found = self.see(uid)
            assert found, "it vanished"
            seen.append(found)
            return found.phase is Phase.EXITED

        self.wait_for(has_exited)
        return seen[-1]

    def stopped(self, uid: UUID, grace_seconds: int) -> Observation:
        """Stop it as reconcile does, again and again, and return how it ended."""

        def has_exited() -> bool:
            self.stop(uid, grace_seconds)
            found = self.see(uid)
            return found is not None and found.phase is Phase.EXITED

        self.wait_for(has_exited)
        return self.exited(uid)

    def failure(self, program: Program) -> tuple[Cause | None, str]:
        """Start what cannot run; return why, whether the start says so or the container does."""
        spec = self.spec(program, uuid4())
        told: list[tuple[Cause | None, str]] = []

        def has_failed() -> bool:
            try:
                self.driver.start(spec, self.now())
            except DriverError as error:
                if error.cause is not Cause.FETCHING_IMAGE:
                    told.append((error.cause, str(error)))
            seen = self.see(spec.uid)
            if seen and seen.cause:
                told.append((seen.cause, seen.message))
            return bool(told)

        self.wait_for(has_failed)
        self.driver.remove(spec.uid)
        return told[0]

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

    def test_a_started_container_runs_and_is_known_by_its_uid(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)

        seen = bench.see(uid)
        assert seen
        assert (seen.phase, seen.exit_code, seen.cause) == (Phase.RUNNING, None, None)

    def test_starting_again_makes_no_second_container(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)

        bench.driver.start(bench.spec(Program.SLEEPS, uid), bench.now())

        assert [o.uid for o in bench.driver.observe(bench.now())] == [uid]

    def test_starting_again_what_has_exited_does_not_run_it_again(self, bench: Bench) -> None:
        uid = bench.start(Program.FAILS)
        before = bench.exited(uid)

        bench.driver.start(bench.spec(Program.FAILS, uid), bench.now())

        assert bench.see(uid) == before

    def test_starting_again_what_is_being_stopped_makes_no_second_container(
        self, bench: Bench
    ) -> None:
        uid = bench.start(Program.IS_STUBBORN)
        bench.stop(uid, 60)

        bench.driver.start(bench.spec(Program.IS_STUBBORN, uid), bench.now())

        assert [o.uid for o in bench.driver.observe(bench.now())] == [uid]

    def test_a_run_that_comes_back_with_another_uid_does_not_find_the_former_container(
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
    def test_an_exit_tells_its_code_and_nothing_else(
        self, bench: Bench, program: Program, code: int
    ) -> None:
        uid = bench.start(program)

        ending = bench.exited(uid)

        assert (ending.exit_code, ending.cause) == (code, None)

    def test_an_ending_tells_when_it_was(self, bench: Bench) -> None:
        before = bench.now()
        uid = bench.start(Program.SUCCEEDS)

        ending = bench.exited(uid)

        assert ending.started_at
        assert ending.exited_at
        assert before <= ending.started_at <= ending.exited_at <= bench.now()

    def test_an_image_that_does_not_exist_is_told(self, bench: Bench) -> None:
        cause, message = bench.failure(Program.HAS_NO_IMAGE)

        assert cause is Cause.IMAGE_NOT_FOUND
        assert "correct `image`" in message

    def test_a_command_that_does_not_exist_is_told(self, bench: Bench) -> None:
        cause, message = bench.failure(Program.HAS_NO_COMMAND)

        assert cause is Cause.COMMAND_NOT_FOUND
        assert "`command`" in message

    def test_what_the_engine_can_never_hold_is_told(self, bench: Bench) -> None:
        cause, message = bench.failure(Program.IS_TOO_LARGE)

        assert cause is Cause.OVER_CAPACITY
        assert "request less" in message

    @pytest.mark.parametrize("program", [Program.HAS_NO_IMAGE, Program.IS_TOO_LARGE])
    def test_nothing_is_left_of_what_could_not_run(self, bench: Bench, program: Program) -> None:
        bench.failure(program)

        bench.wait_for(lambda: not bench.driver.observe(bench.now()))

    # --- Stop -------------------------------------------------------------------------------------

    def test_a_stop_that_is_honoured_is_no_kill(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)

        ending = bench.stopped(uid, 60)

        assert ending.exit_code != _KILLED
        assert ending.cause is None

    def test_a_stop_returns_before_the_container_has_ended(self, bench: Bench) -> None:
        uid = bench.start(Program.IS_STUBBORN)

        bench.stop(uid, 60)

        seen = bench.see(uid)
        assert seen
        assert seen.phase is Phase.RUNNING

    def test_what_does_not_heed_a_stop_is_killed_after_the_grace_and_not_before(
        self, bench: Bench
    ) -> None:
        uid = bench.start(Program.IS_STUBBORN)
        asked = bench.now()

        ending = bench.stopped(uid, 1)

        assert ending.exit_code == _KILLED
        assert (bench.now() - asked).total_seconds() >= 1

    def test_without_grace_it_is_killed_at_once(self, bench: Bench) -> None:
        uid = bench.start(Program.IS_STUBBORN)

        ending = bench.stopped(uid, 0)

        assert ending.exit_code == _KILLED

    def test_a_second_stop_may_shorten_the_grace(self, bench: Bench) -> None:
        uid = bench.start(Program.IS_STUBBORN)
        bench.stop(uid, 600)

        assert bench.stopped(uid, 0).exit_code == _KILLED

    def test_stopping_what_has_exited_or_never_was_does_nothing(self, bench: Bench) -> None:
        uid = bench.start(Program.FAILS)
        before = bench.exited(uid)

        bench.stop(uid, 0)
        bench.stop(uuid4(), 0)

        assert bench.see(uid) == before

    # --- Remove -----------------------------------------------------------------------------------

    def test_what_is_removed_is_seen_no_more(self, bench: Bench) -> None:
        uid = bench.start(Program.SUCCEEDS)
        bench.exited(uid)

        bench.driver.remove(uid)
        bench.wait_for(lambda: bench.see(uid) is None)

        bench.driver.remove(uid)

    # --- Logs -------------------------------------------------------------------------------------

    def test_the_logs_hold_what_it_wrote(self, bench: Bench) -> None:
        uid = bench.start(Program.SPEAKS)
        bench.exited(uid)

        assert bench.logs(uid) == b"one\ntwo\nthree\n"

    def test_the_tail_holds_the_last_lines(self, bench: Bench) -> None:
        uid = bench.start(Program.SPEAKS)
        bench.exited(uid)

        assert bench.logs(uid, tail=2) == b"two\nthree\n"
        assert bench.logs(uid, tail=0) == b""

    def test_following_ends_with_the_container(self, bench: Bench) -> None:
        uid = bench.start(Program.SPEAKS)

        assert bench.logs(uid, follow=True) == b"one\ntwo\nthree\n"

    def test_a_follower_of_a_silent_container_may_leave(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)
        pieces = bench.driver.logs(uid, tail=0, follow=True)

        assert next(pieces) == b""
        pieces.close()  # type: ignore[attr-defined]

    def test_there_are_no_logs_of_what_never_was(self, bench: Bench) -> None:
        assert bench.logs(uuid4()) == b""

    # --- Others -----------------------------------------------------------------------------------

    def test_the_containers_of_others_are_left_alone(self, bench: Bench) -> None:
        uid = uuid4()
        still_runs = bench.foreign(uid)

        assert bench.driver.observe(bench.now()) == []
        assert bench.logs(uid) == b""
        bench.stop(uid, 0)
        bench.driver.remove(uid)

        assert still_runs()

    def test_a_probe_says_what_there_is(self, bench: Bench) -> None:
        probe = bench.driver.probe()

        assert probe.engine_id == bench.driver.probe().engine_id
        assert probe.version
        assert probe.cpu_milli >= 1000
        assert probe.ram_mib >= 64


class DeviceContract:
    """Engines where we choose the GPUs."""

    def test_a_container_holds_the_devices_that_it_was_given(self, bench: Bench) -> None:
        first = bench.start(Program.SLEEPS, devices=("0", "2"))
        second = bench.start(Program.SLEEPS, devices=("1",))

        held = {o.uid: o.devices for o in bench.driver.observe(bench.now())}

        assert held == {first: ("0", "2"), second: ("1",)}


class MemoryContract:
    """Engines that know why the kernel killed a container."""

    def test_running_out_of_memory_is_told(self, bench: Bench) -> None:
        uid = bench.start(Program.EATS_MEMORY)

        ending = bench.exited(uid)

        assert ending.cause is Cause.OUT_OF_MEMORY
        assert ending.exit_code == _KILLED
        assert "`ram_mib`" in ending.message


class MarkerContract:
    """Engines that others may use, and that outlive our database."""

    def test_a_marker_takes_the_place_of_another(self, bench: Bench) -> None:
        first, second = uuid4(), uuid4()
        assert bench.driver.markers() == frozenset()

        for _ in range(2):
            bench.driver.mark(first, instead_of=[])
            assert bench.driver.markers() == frozenset([first])
        bench.driver.mark(second, instead_of=[first])

        assert bench.driver.markers() == frozenset([second])


class WatchContract:
    """Engines that tell of changes."""

    def test_a_change_is_told(self, bench: Bench) -> None:
        uid = bench.start(Program.SLEEPS)
        told: list[int] = []

        def listen() -> None:
            for _ in bench.driver.watch():
                told.append(1)
                return

        listener = Thread(target=listen, daemon=True)
        listener.start()

        def is_told() -> bool:
            # Again and again: nobody knows when the watch has begun.
            bench.driver.remove(bench.stopped(bench.start(Program.SLEEPS), 0).uid)
            return bool(told)

        bench.wait_for(is_told)
        listener.join(_PATIENCE_S)
        assert bench.see(uid)
