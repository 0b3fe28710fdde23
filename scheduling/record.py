"""What a cycle saw and decided, kept so that it can be planned again."""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from scheduling.core.plan import Plan
from scheduling.core.planner import make_plan
from scheduling.core.policy import Policy
from scheduling.core.snapshot import Snapshot

Decisions = dict[str, str]
"""What becomes of each deployment, by its id, in words."""


def pack(snapshot: Snapshot, plan: Plan) -> bytes:
    """Return a snapshot and its plan, compressed: about 25 bytes a deployment."""
    document = {"snapshot": snapshot.to_json(), "decisions": decisions(plan)}
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode())


def unpack(record: bytes) -> tuple[Snapshot, Decisions]:
    """Return what `pack` packed. Raises ValueError when it is none of it."""
    document = json.loads(zlib.decompress(record))
    return Snapshot.from_json(document["snapshot"]), document["decisions"]


def replay(record: bytes, settings: Mapping[str, Any]) -> Iterator[str]:
    """Plan a recorded snapshot again, with other settings if any; yield what comes out different.

    Raises ValueError that names a setting that does not exist or cannot have that value.
    """
    snapshot, before = unpack(record)
    policy = Policy.from_mapping(asdict(snapshot.policy) | dict(settings))
    after = decisions(make_plan(replace(snapshot, policy=policy)))
    for deployment in sorted(before.keys() | after.keys(), key=int):
        was, now = before.get(deployment, "stays"), after.get(deployment, "stays")
        if was != now:
            yield f"deployment {deployment}: {was} → {now}"


def decisions(plan: Plan) -> Decisions:
    """Return what the plan does with each deployment that it does anything with."""
    return {
        **{str(h.deployment): f"waits ({h.code})" for h in plan.holds},
        **{str(p.deployment): f"placed on {p.cluster}" for p in plan.placements},
        **{str(e.deployment): f"evicted from {e.cluster} for {e.for_}" for e in plan.evictions},
        **{
            str(m.deployment): f"moved from {m.source} to {m.target} for {m.for_}"
            for m in plan.moves
        },
    }
