"""`manage.py test` passes its arguments to pytest; the minimum coverage is for the whole suite."""

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
def test_it_runs_only_the_given_path(arguments: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "manage.py", "test", *arguments, "--collect-only", "-q")

    collected = {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert collected == {PATH}


def test_a_part_of_the_suite_passes_below_the_minimum_coverage(tmp_path: Path) -> None:
    done = run(tmp_path, "manage.py", "test", PATH)
    assert done.returncode == 0, done.stdout
    report = run(tmp_path, "-m", "coverage", "report")
    assert report.returncode == 2
    assert "Coverage failure" in report.stdout
