"""Logs of `up` are limited in size, and complete whichever process is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from hypervisor.standalone import process
from hypervisor.standalone.bootstrap import ROOT
from hypervisor.standalone.log_file import main
from hypervisor.standalone.process import Process, Service

COUNT = "import os\nfor n in range({n}): os.write(1, b'line %d\\n' % n)\nos.kill(os.getpid(), 9)"
SUPERVISE = """
import sys, time
from itertools import pairwise
from pathlib import Path
from hypervisor.standalone.process import Process, Service
code = '''
import os, signal
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"last words\\\\n"), os._exit(0)))
os.write(1, b"up\\\\n")
signal.pause()
'''
print(Process(Service("a", [sys.executable, "-c", code], Path(sys.argv[1]), lambda: True)).pid, flush=True)
time.sleep(60)
"""  # noqa: E501


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 100_000)
    monkeypatch.setattr(process, "LOGS_KEPT", 3)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    made = []

    def start(code: str) -> Process:
        command = [sys.executable, "-c", code]
        made.append(Process(Service("a", command, tmp_path / "a.log", lambda: True)))
        return made[-1]

    yield start
    for one in made:
        one.kill()


def logs(folder: Path) -> list[bytes]:
    """Return the contents of the log files, the oldest first."""
    names = [folder / "a.log", *(folder / f"a.log.{n}" for n in range(1, 10))]
    return [name.read_bytes() for name in reversed(names) if name.exists()]


def test_no_line_is_lost_when_the_process_is_killed(
    tmp_path: Path, small: None, run: Callable[[str], Process]
) -> None:
    killed = run(COUNT.format(n=30_000))
    wait_until(lambda: killed.exit_status() == "was killed by SIGKILL")
    killed.kill()

    files = logs(tmp_path)

    assert len(files) > 1
    assert all(len(text) < 200_000 and text.endswith(b"\n") for text in files if text)
    assert b"".join(files).splitlines() == [b"line %d" % n for n in range(30_000)]


def test_the_oldest_lines_are_deleted_when_there_are_too_many(
    tmp_path: Path, small: None, run: Callable[[str], Process]
) -> None:
    killed = run(COUNT.format(n=100_000))
    wait_until(killed.exit_status)
    killed.kill()

    lines = b"".join(logs(tmp_path)).splitlines()

    assert sum(map(len, logs(tmp_path))) < 800_000
    assert lines == [b"line %d" % n for n in range(100_000 - len(lines), 100_000)]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_later_process_continues_in_the_same_file(
    tmp_path: Path, run: Callable[[str], Process]
) -> None:
    for word in ("one", "two"):
        one = run(f"print({word!r})")
        wait_until(one.exit_status)
        one.kill()

    assert logs(tmp_path) == [b"one\ntwo\n"]


def test_output_without_line_ends_is_limited_as_well(
    tmp_path: Path, small: None, run: Callable[[str], Process]
) -> None:
    endless = run("import os\nwhile True: os.write(1, b'x' * 10_000)")

    wait_until(lambda: len(list(tmp_path.iterdir())) == 4)
    endless.kill()

    assert sum(map(len, logs(tmp_path))) < 1_500_000


def test_logging_continues_after_the_log_writer_is_killed(
    tmp_path: Path, run: Callable[[str], Process]
) -> None:
    code = "import os, time\nfor n in range(10**9): os.write(1, b'line %d\\n' % n); time.sleep(.01)"
    one = run(code)
    wait_until(lambda: any(logs(tmp_path)))
    one._log.kill()
    one._log.wait()
    size = len(logs(tmp_path)[0])

    one.ensure_log_writer()

    wait_until(lambda: len(logs(tmp_path)[0]) > size + 100)
    one.kill()
    # Everything except the data that the killed writer had read but not yet written.
    numbers = [int(line.split()[1]) for line in logs(tmp_path)[0].splitlines()]
    gaps = [n for n, after in pairwise(numbers) if after != n + 1]
    assert numbers == sorted(numbers)
    assert len(gaps) <= 1


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
def test_the_last_lines_are_logged_although_the_supervisor_was_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(tmp_path / "a.log")],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert supervisor.stdout is not None
    supervisor.stdout.readline()
    wait_until(lambda: logs(tmp_path) == [b"up\n"])
    family = psutil.Process(supervisor.pid).children(recursive=True)

    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.communicate()

    wait_until(lambda: logs(tmp_path) == [b"up\nlast words\n"])
    assert psutil.wait_procs(family, 10)[1] == []


def test_a_full_disk_loses_lines_but_blocks_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"lost\n")
    os.close(writer)
    own = os.dup(0)
    os.dup2(reader, 0)
    try:
        main(str(tmp_path / "no such folder" / "a.log"), 100, 3)
    finally:
        os.dup2(own, 0)
        os.close(own)
        os.close(reader)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
