"""Each line of docs/client.md works as it stands there."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.service import Service
from tests.support.pages import paste

pytestmark = pytest.mark.skipif(os.name != "posix" or not shutil.which("sh"), reason="needs sh")


def test_the_pages_session_can_be_pasted_and_prints_what_it_shows(
    own_service: Service, environment: Path, tmp_path: Path
) -> None:
    path = f"{environment}{os.pathsep}{os.environ['PATH']}"

    paste("client.md", own_service, tmp_path, {**os.environ, "PATH": path}, has_columns=True)
