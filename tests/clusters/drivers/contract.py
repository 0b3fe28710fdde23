"""What every engine's driver has to do: the same tests for each.

A test class of an engine inherits the contracts that it can keep and gives a fixture `bench`.
"""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from threading import Thread

import pytest

from clusters.drivers.base import Cause, ContainerSpec, Driver, DriverError, Observation, Phase

_PATIENCE_S = 30
_KILLED = 137
run_ids = itertools.count(1)


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
    def spec(self, program: Program, run_id: int, devices: tuple[str, ...] = ()) -> ContainerSpec:
        """Return a container that does so on this engine."""

    @abstractmethod
    def foreign(self, run_id: int) -> Callable[[], bool]:
        """Run somebody else's container, with our labels for that run but another connection.

        Return a function that says whether it still runs.
        """

    @abstractmethod
    def now(self) -> datetime:
        """Return the time that the driver is told."""

    @abstractmethod
    def pass_time(self) -> None:
        """Let a little time pass."""

    # --- What the tests do with it ----------------------------------------------------------------

    def start(self, program: Program, *, devices: tuple[str, ...] = ()) -> int:
        """Start a container; return its run's id when it no longer prepares."""
        run_id = next(run_ids)
        spec = self.spec(program, run_id, devices)
        self.driver.start(spec, self.now())
        self.wait_for(lambda: (seen := self.see(run_id)) and seen.phase is not Phase.PREPARING)
        if program is Program.IS_STUBBORN:  # only now
            self.wait_for(lambda: self.logs(run_id) == b"ready\n")
        return run_id

    def stop(self, run_id: int, grace_seconds: int) -> None:
        self.driver.stop(run_id, grace_seconds, self.now())

    def see(self, run_id: int) -> Observation | None:
        found = [o for o in self.driver.observe(self.now()) if o.run_id == run_id]
        assert len(found) <= 1
        return found[0] if found else None

    def exited(self, run_id: int) -> Observation:
        """Return how it ended, when it has."""
        seen: list[Observation] = []

        def has_exited() -> bool:
            found = self.see(run_id)
            assert found, "it vanished"
            seen.append(found)
            return found.phase is Phase.EXITED

        self.wait_for(has_exited)
        return seen[-1]

    def stopped(self, run_id: int, grace_seconds: int) -> Observation:
        """Stop it as reconcile does, again and again, and return how it ended."""

        def has_exited() -> bool:
            self.stop(run_id, grace_seconds)
            found = self.see(run_id)
            return found is not None and found.phase is Phase.EXITED

        self.wait_for(has_exited)
        return self.exited(run_id)

    def failure(self, program: Program) -> tuple[Cause | None, str]:
        """Start what cannot run; return why, whether the start says so or the container does."""
        spec = self.spec(program, next(run_ids))
        told: list[tuple[Cause | None, str]] = []

        def has_failed() -> bool:
            try:
                self.driver.start(spec, self.now())
            except DriverError as error:
                if error.cause is not Cause.FETCHING_IMAGE:
                    told.append((error.cause, str(error)))
            seen = self.see(spec.run_id)
            if seen and seen.cause:
                told.append((seen.cause, seen.message))
            return bool(told)

        self.wait_for(has_failed)
        self.driver.remove(spec.run_id)
        return told[0]

    def logs(self, run_id: int, *, tail: int | None = None, follow: bool = False) -> bytes:
        return b"".join(self.driver.logs(run_id, tail=tail, follow=follow))

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

    def test_a_started_container_runs_and_is_known_by_its_run(self, bench: Bench) -> None:
        run_id = bench.start(Program.SLEEPS)

        seen = bench.see(run_id)
        assert seen
        assert (seen.phase, seen.exit_code, seen.cause) == (Phase.RUNNING, None, None)

    def test_starting_again_makes_no_second_container(self, bench: Bench) -> None:
        run_id = bench.start(Program.SLEEPS)

        bench.driver.start(bench.spec(Program.SLEEPS, run_id), bench.now())

        assert [o.run_id for o in bench.driver.observe(bench.now())] == [run_id]

    def test_starting_again_what_has_exited_does_not_run_it_again(self, bench: Bench) -> None:
        run_id = bench.start(Program.FAILS)
        before = bench.exited(run_id)

        bench.driver.start(bench.spec(Program.FAILS, run_id), bench.now())

        assert bench.see(run_id) == before

    def test_starting_again_what_is_being_stopped_makes_no_second_container(
        self, bench: Bench
    ) -> None:
        run_id = bench.start(Program.IS_STUBBORN)
        bench.stop(run_id, 60)

        bench.driver.start(bench.spec(Program.IS_STUBBORN, run_id), bench.now())

        assert [o.run_id for o in bench.driver.observe(bench.now())] == [run_id]

    def test_each_run_has_its_own_container(self, bench: Bench) -> None:
        first, second = bench.start(Program.SLEEPS), bench.start(Program.FAILS)

        bench.exited(second)

        assert {o.run_id for o in bench.driver.observe(bench.now())} == {first, second}

    # --- Endings ----------------------------------------------------------------------------------

    @pytest.mark.parametrize(("program", "code"), [(Program.SUCCEEDS, 0), (Program.FAILS, 3)])
    def test_an_exit_tells_its_code_and_nothing_else(
        self, bench: Bench, program: Program, code: int
    ) -> None:
        run_id = bench.start(program)

        ending = bench.exited(run_id)

        assert (ending.exit_code, ending.cause) == (code, None)

    def test_an_ending_tells_when_it_was(self, bench: Bench) -> None:
        before = bench.now()
        run_id = bench.start(Program.SUCCEEDS)

        ending = bench.exited(run_id)

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
        run_id = bench.start(Program.SLEEPS)

        ending = bench.stopped(run_id, 60)

        assert ending.exit_code != _KILLED
        assert ending.cause is None

    def test_a_stop_returns_before_the_container_has_ended(self, bench: Bench) -> None:
        run_id = bench.start(Program.IS_STUBBORN)

        bench.stop(run_id, 60)

        seen = bench.see(run_id)
        assert seen
        assert seen.phase is Phase.RUNNING

    def test_what_does_not_heed_a_stop_is_killed_after_the_grace_and_not_before(
        self, bench: Bench
    ) -> None:
        run_id = bench.start(Program.IS_STUBBORN)
        asked = bench.now()

        ending = bench.stopped(run_id, 1)

        assert ending.exit_code == _KILLED
        assert (bench.now() - asked).total_seconds() >= 1

    def test_without_grace_it_is_killed_at_once(self, bench: Bench) -> None:
        run_id = bench.start(Program.IS_STUBBORN)

        ending = bench.stopped(run_id, 0)

        assert ending.exit_code == _KILLED

    def test_a_second_stop_may_shorten_the_grace(self, bench: Bench) -> None:
        run_id = bench.start(Program.IS_STUBBORN)
        bench.stop(run_id, 600)

        assert bench.stopped(run_id, 0).exit_code == _KILLED

    def test_stopping_what_has_exited_or_never_was_does_nothing(self, bench: Bench) -> None:
        run_id = bench.start(Program.FAILS)
        before = bench.exited(run_id)

        bench.stop(run_id, 0)
        bench.stop(next(run_ids), 0)

        assert bench.see(run_id) == before

    # --- Remove -----------------------------------------------------------------------------------

    def test_what_is_removed_is_seen_no_more(self, bench: Bench) -> None:
        run_id = bench.start(Program.SUCCEEDS)
        bench.exited(run_id)

        bench.driver.remove(run_id)
        bench.wait_for(lambda: bench.see(run_id) is None)

        bench.driver.remove(run_id)

    # --- Logs -------------------------------------------------------------------------------------

    def test_the_logs_hold_what_it_wrote(self, bench: Bench) -> None:
        run_id = bench.start(Program.SPEAKS)
        bench.exited(run_id)

        assert bench.logs(run_id) == b"one\ntwo\nthree\n"

    def test_the_tail_holds_the_last_lines(self, bench: Bench) -> None:
        run_id = bench.start(Program.SPEAKS)
        bench.exited(run_id)

        assert bench.logs(run_id, tail=2) == b"two\nthree\n"
        assert bench.logs(run_id, tail=0) == b""

    def test_following_ends_with_the_container(self, bench: Bench) -> None:
        run_id = bench.start(Program.SPEAKS)

        assert bench.logs(run_id, follow=True) == b"one\ntwo\nthree\n"

    def test_a_follower_of_a_silent_container_may_leave(self, bench: Bench) -> None:
        run_id = bench.start(Program.SLEEPS)
        pieces = bench.driver.logs(run_id, tail=0, follow=True)

        assert next(pieces) == b""
        pieces.close()  # type: ignore[attr-defined]

    def test_there_are_no_logs_of_what_never_was(self, bench: Bench) -> None:
        assert bench.logs(next(run_ids)) == b""

    # --- Others -----------------------------------------------------------------------------------

    def test_the_containers_of_others_are_left_alone(self, bench: Bench) -> None:
        run_id = next(run_ids)
        still_runs = bench.foreign(run_id)

        assert bench.driver.observe(bench.now()) == []
        assert bench.logs(run_id) == b""
        bench.stop(run_id, 0)
        bench.driver.remove(run_id)

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

        held = {o.run_id: o.devices for o in bench.driver.observe(bench.now())}

        assert held == {first: ("0", "2"), second: ("1",)}


class MemoryContract:
    """Engines that know why the kernel killed a container."""

    def test_running_out_of_memory_is_told(self, bench: Bench) -> None:
        run_id = bench.start(Program.EATS_MEMORY)

        ending = bench.exited(run_id)

        assert ending.cause is Cause.OUT_OF_MEMORY
        assert ending.exit_code == _KILLED
        assert "`ram_mib`" in ending.message


class WatchContract:
    """Engines that tell of changes."""

    def test_a_change_is_told(self, bench: Bench) -> None:
        run_id = bench.start(Program.SLEEPS)
        told: list[int] = []

        def listen() -> None:
            for _ in bench.driver.watch():
                told.append(1)
                return

        listener = Thread(target=listen, daemon=True)
        listener.start()

        def is_told() -> bool:
            # Again and again: nobody knows when the watch has begun.
            bench.driver.remove(bench.stopped(bench.start(Program.SLEEPS), 0).run_id)
            return bool(told)

        bench.wait_for(is_told)
        listener.join(_PATIENCE_S)
        assert bench.see(run_id)
