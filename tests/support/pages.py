"""Run the shell sessions of a page of the documentation as a reader pastes them."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks.service import Service
from hypervisor.standalone.bootstrap import ROOT

_END_OF_BLOCK = "-- the next block --\n"


def paste(
    page: str,
    service: Service,
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    has_columns: bool = False,
) -> None:
    """Run all blocks of the page in one shell; check what each prints, and that no file is left.

    With `has_columns`, blanks may be several, because a column is as wide as the ids in it.
    """
    text = (ROOT / "docs" / page).read_text().replace("http://localhost:8000", service.url)
    blocks = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", text, re.M | re.S)
    session = "".join(f"{commands}printf '%s' '{_END_OF_BLOCK}'\n" for commands, _ in blocks)

    done = subprocess.run(
        ["sh", "-eu"], input=session, cwd=folder, env=env, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip

    printed = done.stdout.split(_END_OF_BLOCK)
    for (commands, shown), output in zip(blocks, printed, strict=False):
        pattern = re.escape(shown).replace("…", ".*")
        pattern = pattern.replace("\\ ", " +") if has_columns else pattern
        assert re.fullmatch(pattern, output), f"{commands}prints\n{output}\n{done.stderr}"
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
