"""`manage.py test` passes its arguments to pytest."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PATH = "tests/clusters/test_resources.py"


@pytest.mark.parametrize("arguments", [[PATH], [PATH, "-k", "quantity or quantities"]])
def test_it_runs_only_the_given_path(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "test", *arguments, "--collect-only", "-q"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip

    collected = {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert collected == {PATH}
