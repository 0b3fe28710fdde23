"""The exact optima of snapshots, stored in a file because they take minutes to find."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from scheduling.planner.pipeline import make_plan
from scheduling.planner.snapshot import Place, Snapshot


@dataclass(frozen=True, slots=True)
class Optimum:
    """The active deployments by priority, the evictions and moves, and whether all is proven."""

    counts: dict[int, int]
    evictions: int
    proven: bool


class References:
    """A file of one JSON line for each snapshot, identified by a digest of its content.

    `work` limits the solver at each level, in its deterministic seconds. Without a path nothing is
    stored. A run that was interrupted continues where it stopped.
    """

    def __init__(self, path: Path | None, work: float) -> None:
        self._path = path
        self._work = work
        self._known: dict[str, Mapping[str, Any] | None] = {}
        if path and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self._known[row["snapshot"]] = row["best"]

    def of(self, snapshot: Snapshot) -> Optimum | None:
        """Return the optimum, or the best solution that was found; None if there is none."""
        key = digest(snapshot)
        if key not in self._known:
            self._known[key] = self._solve(snapshot)
            if self._path:
                row = {"snapshot": key, "work": self._work, "best": self._known[key]}
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        best = self._known[key]
        if best is None:
            return None
        counts = {int(priority): count for priority, count in best["counts"].items()}
        return Optimum(counts, best["evictions"], best["proven"])

    def _solve(self, snapshot: Snapshot) -> Mapping[str, Any] | None:
        from benchmarks.reference import optimum  # It needs a development dependency.

        plan = make_plan(snapshot)
        hint: dict[int, Place | None] = {**snapshot.homes()}
        hint |= {row.deployment: None for row in plan.evictions}
        hint |= {row.deployment: (row.target, row.target_node) for row in plan.moves}
        hint |= {row.deployment: (row.cluster, row.node) for row in plan.placements}
        try:
            best = optimum(snapshot, self._work, hint=hint)
        except TimeoutError:
            return None
        return {"counts": best.counts, "evictions": best.evictions, "proven": best.proven}


def digest(snapshot: Snapshot) -> str:
    """Return a digest of the snapshot, without the fields that are not set."""
    document = snapshot.to_json()
    rows = [
        {name: value for name, value in row.items() if value is not None}
        for row in document["deployments"]
    ]
    return sha256(
        json.dumps({**document, "deployments": rows}, sort_keys=True).encode()
    ).hexdigest()
