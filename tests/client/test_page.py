"""Each line of docs/client.md works as it stands there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.service import Service
from hypervisor.standalone.bootstrap import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix" or not shutil.which("sh"), reason="needs sh")
_END = "-- the next block --\n"


def test_the_pages_session_can_be_pasted_and_prints_what_it_shows(
    service: Service, environment: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "client.md").read_text().replace("http://localhost:8000", service.url)
    blocks = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", page, re.M | re.S)
    session = "".join(f"{commands}printf '%s' '{_END}'\n" for commands, _ in blocks)

    done = subprocess.run(
        ["sh", "-eu"], input=session, cwd=tmp_path, capture_output=True, text=True, timeout=240,
        check=False, env={**os.environ, "PATH": f"{environment}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip

    for (commands, shown), output in zip(blocks, done.stdout.split(_END), strict=False):
        pattern = (
            re.escape(shown).replace("…", ".*").replace("\\ ", " +").replace("\\\n", "\\s*\\n")
        )
        assert re.fullmatch(pattern, output), f"{commands}prints\n{output}\n{done.stderr}"
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
