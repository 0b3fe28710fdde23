"""The figures of replays, stored in a file so that a run that was stopped continues."""

import json
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import scheduling
from benchmarks.cells import Cell
from benchmarks.suites import Setting
from scheduling.simulation.metrics import LevelSummary, Summary

Measured = tuple[Summary, float]
"""The figures of a replay, and the CPU seconds that it took."""


class StoredReplays:
    """A file of one JSON line for each replay. Without a path, nothing is stored.

    A replay is identified by its jobs, clusters, policy and thresholds, and by the source of the
    planner and the simulation, so figures of other code are never used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        text = path.read_text(encoding="utf-8") if path and path.exists() else ""
        for line in text.splitlines():
            with suppress(json.JSONDecodeError):  # A killed process may leave half a line.
                row = json.loads(line)
                self._known[row["key"]] = row
        if text and not text.endswith("\n"):
            self._append("")

    def find(self, cell: Cell, setting: Setting) -> Measured | None:
        row = self._known.get(_key(cell, setting))
        return None if row is None else _from_json(row)

    def add(self, cell: Cell, setting: Setting, measured: Measured) -> None:
        summary, seconds = measured
        row = {"key": _key(cell, setting), "cell": cell.label, "policy": setting.name}
        self._append(json.dumps({**row, "seconds": seconds, "summary": asdict(summary)}))

    def _append(self, line: str) -> None:
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def _from_json(row: dict[str, Any]) -> Measured:
    summary = dict(row["summary"])
    levels = tuple(LevelSummary(**level) for level in summary.pop("levels"))
    return Summary(levels=levels, **summary), row["seconds"]


def _key(cell: Cell, setting: Setting) -> str:
    policy = f"{setting.decide.__module__}.{setting.decide.__qualname__}"
    content = cell.jobs, cell.clusters, policy, setting.terms, _source()
    return sha256(repr(content).encode()).hexdigest()


@cache
def _source() -> str:
    """Return a digest of the planner and the simulation."""
    folder = Path(scheduling.__path__[0])
    files = [*folder.glob("planner/**/*.py"), *folder.glob("simulation/**/*.py")]
    digest = sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()
