import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hypervisor.standalone.bootstrap import ROOT
from hypervisor.standalone.process import Process, Service, StartError
from hypervisor.standalone.supervisor import Stopped, Supervisor, stop_on_signals

WITH_A_CHILD = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""
SUPERVISE = """
import sys, time
from pathlib import Path
from hypervisor.standalone.process import Process, Service
print(Process(Service("a", ["sleep", "60"], Path(sys.argv[1]), lambda: True)).pid, flush=True)
time.sleep(60)
"""


class Stage:
    """Builds services from a line of Python, and records the supervisor's reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reported: list[str] = []
        self.supervisor = Supervisor(self.reported.append)
        self._before = set(psutil.Process().children(recursive=True))

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def service(self, name: str, code: str, *, ready_on: str = "", grace_s: float = 10) -> Service:
        log = self.log(name)
        return Service(
            name=name,
            command=[sys.executable, "-c", code],
            log=log,
            is_ready=lambda: ready_on in log.read_text(),
            ready_within_s=20,
            grace_s=grace_s,
        )

    def processes(self) -> list[psutil.Process]:
        """Return the running descendants that did not exist before."""
        now = psutil.Process().children(recursive=True)
        return [
            process
            for process in now
            if process not in self._before and process.status() != psutil.STATUS_ZOMBIE
        ]

    def watch_until(self, text: str) -> None:
        """Watch until the supervisor has reported this."""
        main = threading.main_thread().ident
        assert main is not None

        def interrupt() -> None:
            while not any(text in line for line in self.reported):
                time.sleep(0.02)
            signal.pthread_kill(main, signal.SIGTERM)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(Stopped), stop_on_signals():
            self.supervisor.watch()
        thread.join()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    stage = Stage(tmp_path)
    yield stage
    stage.supervisor.stop()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_start_returns_when_every_service_is_ready(stage: Stage) -> None:
    code = "import time; time.sleep(0.3); print('ready', flush=True); time.sleep(60)"

    stage.supervisor.start(stage.service("a", code, ready_on="ready"))

    assert stage.log("a").read_text() == "ready\n"


def test_a_service_that_dies_at_its_start_is_reported_with_the_end_of_its_log(stage: Stage) -> None:
    broken = stage.service("a", "import sys; sys.exit('no such table')", ready_on="never")

    with pytest.raises(StartError, match=r"(?s)a exited with 1.*no such table"):
        stage.supervisor.start(broken)


def test_a_service_that_dies_is_restarted_and_reported(stage: Stage) -> None:
    code = f"import os; print('up', flush=True); os.kill(os.getpid(), {int(signal.SIGKILL)})"
    stage.supervisor.start(stage.service("a", code, ready_on="up"))

    stage.watch_until("a was restarted")

    assert "a was killed by SIGKILL; it is restarted in 0.2 s" in stage.reported[0]


def test_a_service_that_keeps_dying_is_restarted_less_and_less_often(stage: Stage) -> None:
    stage.supervisor.start(stage.service("a", "pass"))

    stage.watch_until("in 0.8 s")

    delays = [line.split(" in ")[1][:5] for line in stage.reported if " restarted in " in line]
    assert delays == ["0.2 s", "0.4 s", "0.8 s"]


def test_children_of_a_killed_service_do_not_survive_it(stage: Stage) -> None:
    parent = Process(stage.service("a", WITH_A_CHILD))
    while len(stage.processes()) < 2:
        time.sleep(0.02)
    os.kill(parent.pid, signal.SIGKILL)

    parent.stop()

    assert stage.processes() == []


def test_a_service_that_ignores_its_stop_signal_is_killed_after_its_grace(
    stage: Stage,
) -> None:
    stage.supervisor.start(stage.service("a", DEAF, ready_on="deaf", grace_s=0.2))

    stage.supervisor.stop()

    assert stage.processes() == []


def test_the_last_started_service_stops_first(stage: Stage) -> None:
    shared = stage.folder / "order"
    for name in "abc":
        code = (
            "import signal, sys, time\n"
            f"def stop(*_): open({str(shared)!r}, 'a').write({name!r}); sys.exit()\n"
            "signal.signal(signal.SIGTERM, stop); print('up', flush=True); time.sleep(60)"
        )
        stage.supervisor.start(stage.service(name, code, ready_on="up"))

    stage.supervisor.stop()

    assert shared.read_text() == "cba"


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_a_service_stops_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(tmp_path / "log")],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert supervisor.stdout is not None
    service = psutil.Process(int(supervisor.stdout.readline()))

    supervisor.kill()
    supervisor.communicate()

    deadline = time.monotonic() + 5
    while service.is_running() and service.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
