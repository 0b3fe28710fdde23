"""`manage.py test`: its arguments reach pytest as they are; the floor is of the whole suite."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PATH = "tests/clusters/test_resources.py"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT, env={**os.environ, "COVERAGE_FILE": str(folder / "coverage")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [[PATH], [PATH, "-k", "quantity or quantities"]])
def test_it_runs_the_path_that_it_is_given_and_no_others(
    arguments: list[str], tmp_path: Path
) -> None:
    done = run(tmp_path, "manage.py", "test", *arguments, "--collect-only", "-q")

    collected = {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert collected == {PATH}


def test_a_part_of_the_suite_passes_below_the_floor_of_the_whole(tmp_path: Path) -> None:
    done = run(tmp_path, "manage.py", "test", PATH)
    assert done.returncode == 0, done.stdout
    report = run(tmp_path, "-m", "coverage", "report")
    assert report.returncode == 2
    assert "Coverage failure" in report.stdout
