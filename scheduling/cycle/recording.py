"""What a cycle saw and decided, kept so that it can be planned again."""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy
from scheduling.planner.snapshot import Snapshot

Decisions = dict[str, str]
"""What becomes of each deployment, by its id, in words."""

STAYS = "stays"
_SUSPENDED = ", preemption suspended"

_GRAMMAR = re.compile(
    r"(?P<kind>\w+)(?: \((?P<code>\w+)\))?(?: from (?P<source>\d+))?(?: (?:on|to) (?P<target>\d+))?"
    r"(?: for (?P<for_>\d+|None))?(?P<suspended>, preemption suspended)?"
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a cycle did with a deployment: `placed`, `evicted`, `moved`, `waits` or `stays`.

    `source` and `target` are clusters, `for_` is who took its room, `code` says why it waits.
    `suspended`: from this cycle on nobody is preempted for it for a while.
    """

    deployment: int
    kind: str
    source: int | None = None
    target: int | None = None
    for_: int | None = None
    code: str = ""
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A deployment with which a replay does something else; both in words."""

    deployment: int
    was: str
    now: str

    def __str__(self) -> str:
        return f"deployment {self.deployment}: {self.was} → {self.now}"


def pack(snapshot: Snapshot, plan: Plan) -> bytes:
    """Return a snapshot and its plan, compressed: about 25 bytes a deployment."""
    document = {"snapshot": snapshot.to_json(), "decisions": decisions(plan)}
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode())


def unpack(record: bytes) -> tuple[Snapshot, Decisions]:
    """Return what `pack` packed, in this release or an earlier one.

    A threshold that the record lacks has its default; one that no longer exists is left out.
    Raises ValueError when it is none of it.
    """
    document = json.loads(zlib.decompress(record))
    stored = document["snapshot"]
    known = {each.name for each in Policy.thresholds()}
    policy = {name: value for name, value in stored["policy"].items() if name in known}
    return Snapshot.from_json(stored | {"policy": policy}), document["decisions"]


def replay(record: bytes, settings: Mapping[str, Any]) -> list[Difference]:
    """Plan a recorded snapshot again, with other settings if any; return what comes out different.

    Raises ValueError that names a setting that does not exist or cannot have that value.
    """
    snapshot, before = unpack(record)
    policy = snapshot.policy.with_values(settings)
    after = decisions(make_plan(replace(snapshot, policy=policy)))
    return [
        Difference(int(deployment), before.get(deployment, STAYS), after.get(deployment, STAYS))
        for deployment in sorted(before.keys() | after.keys(), key=int)
        if before.get(deployment) != after.get(deployment)
    ]


def read(deployment: int, words: str) -> Decision:
    """Take a decision's words apart. Raises ValueError for words that no cycle wrote."""
    parts = _GRAMMAR.fullmatch(words)
    if parts is None:
        raise ValueError(f"deployment {deployment}: {words!r} is no decision")
    ids = {
        name: int(text) if (text := parts[name]) and text != "None" else None
        for name in ("source", "target", "for_")
    }
    code, suspended = parts["code"] or "", bool(parts["suspended"])
    return Decision(deployment, parts["kind"], code=code, suspended=suspended, **ids)


def decisions(plan: Plan) -> Decisions:
    """Return what the plan does with each deployment that it does anything with."""
    words = _decisions(plan)
    for suspension in plan.suspensions:
        words[str(suspension.deployment)] += _SUSPENDED
    return words


def _decisions(plan: Plan) -> Decisions:
    return {
        **{str(h.deployment): f"waits ({h.code})" for h in plan.holds},
        **{str(p.deployment): f"placed on {p.cluster}" for p in plan.placements},
        **{str(e.deployment): f"evicted from {e.cluster} for {e.for_}" for e in plan.evictions},
        **{
            str(m.deployment): f"moved from {m.source} to {m.target} for {m.for_}"
            for m in plan.moves
        },
    }
