"""Python's collector of reference cycles, in a process of its own."""

import gc
import subprocess
import sys

from hypervisor.standalone.bootstrap import ROOT

_CYCLE = """
import django
django.setup()

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("collected", flush=True)

Cycle()
{last}
"""


def _output(last: str = "") -> str:
    command = [sys.executable, "-c", _CYCLE.format(last=last)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_it_collects_rarely_and_spares_what_was_imported() -> None:
    assert gc.isenabled()
    assert gc.get_threshold()[0] == 200_000
    assert gc.get_freeze_count() > 100_000


def test_it_collects_what_a_process_leaves_while_it_runs() -> None:
    assert _output("import gc; gc.collect()") == "collected\n"


def test_it_looks_through_nothing_when_a_process_ends() -> None:
    assert _output() == ""
