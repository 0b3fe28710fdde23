"""`manage.py test`: its arguments reach pytest as they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PATH = "tests/clusters/test_resources.py"


@pytest.mark.parametrize("arguments", [[PATH], [PATH, "-k", "quantity or quantities"]])
def test_it_runs_the_path_that_it_is_given_and_no_others(
    arguments: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "test", *arguments, "--collect-only", "-q"],
        cwd=ROOT, env={**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    collected = {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert collected == {PATH}
