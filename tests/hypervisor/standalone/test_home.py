import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypervisor.standalone.bootstrap import ROOT
from hypervisor.standalone.home import Home, HomeInUseError, free_port

TAKE_AND_WAIT = """
import subprocess, sys, time
from pathlib import Path
from hypervisor.standalone.home import Home
lock = Home(Path(sys.argv[1])).lock()
child = subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[lock], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def occupy(home: Home) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Run another supervisor on the home, with one child that lives for so many seconds."""
    processes = []

    def run(child_lives_s: float) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE_AND_WAIT, str(home.path), str(child_lives_s)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_a_secret_is_random_and_stays_the_same(home: Home, tmp_path: Path) -> None:
    secret = home.secret("postgres")

    assert Home(home.path).secret("postgres") == secret
    assert home.secret("valkey") != secret
    assert len(secret) == 43


def test_other_users_cannot_read_the_home(home: Home) -> None:
    home.secret("postgres")
    home.write_env({"SECRET_KEY": "x"})

    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (home.path, *home.path.glob("*[!s]"))}

    assert modes == {"home": 0o700, "env": 0o600, "state.json": 0o600}


def test_a_port_stays_the_same_while_it_is_free(home: Home) -> None:
    port = home.port("postgres")

    assert home.port("postgres") == port
    with socket.create_server(("127.0.0.1", port)):
        assert home.port("postgres") != port


def test_a_free_port_can_be_listened_on() -> None:
    socket.create_server(("127.0.0.1", free_port())).close()


def test_a_second_supervisor_is_refused_and_the_first_is_named(
    home: Home, occupy: Callable[[float], subprocess.Popen[str]]
) -> None:
    first = occupy(5)

    assert home.is_running()
    with pytest.raises(HomeInUseError, match=rf"process {first.pid}.*HYPERVISOR_HOME"):
        home.lock()


def test_a_home_is_free_again_when_its_supervisor_is_killed(
    home: Home, occupy: Callable[[float], subprocess.Popen[str]]
) -> None:
    occupy(0).kill()

    os.close(home.lock())


def test_the_next_supervisor_waits_for_processes_of_a_killed_one(
    home: Home, occupy: Callable[[float], subprocess.Popen[str]]
) -> None:
    first = occupy(1.5)
    began = time.monotonic()
    first.kill()
    first.wait()

    os.close(home.lock())

    assert time.monotonic() - began > 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_processes_of_a_killed_supervisor_are_killed_if_they_do_not_end(
    home: Home,
    occupy: Callable[[float], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hypervisor.standalone.home.PATIENCE_S", 0.2)
    first = occupy(60)
    first.send_signal(signal.SIGKILL)
    first.wait()

    os.close(home.lock())
