"""The linter Spectral finds nothing in the OpenAPI document."""

import json
import subprocess
from pathlib import Path

from tests.fixtures.node import FOLDER
from tests.support.openapi import document


def test_the_linter_finds_nothing(node_tools: Path, tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document(), indent=1))

    done = subprocess.run(
        [node_tools / "spectral", "lint", path, "--ruleset", FOLDER / ".spectral.yaml",
         "--format", "text", "--fail-severity", "hint"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
