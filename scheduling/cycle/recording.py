"""What a cycle saw and decided, kept so that it can be planned again."""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy
from scheduling.planner.snapshot import Snapshot


class Kind(StrEnum):
    PLACED = "placed"
    EVICTED = "evicted"
    MOVED = "moved"
    WAITS = "waits"
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a cycle did with a deployment.

    `source` and `target` are clusters. `for_` is the preemptor, None when the source drains.
    `code` is the wait reason. `suspended`: from this cycle on, preemption is suspended for it.
    """

    deployment: int
    kind: Kind
    source: int | None = None
    target: int | None = None
    for_: int | None = None
    code: str = ""
    suspended: bool = False

    def __str__(self) -> str:
        parts = (
            self.kind.value,
            self.code and f"({self.code})",
            f"from {self.source}" if self.source else "",
            f"{'to' if self.kind is Kind.MOVED else 'on'} {self.target}" if self.target else "",
            f"for {self.for_}" if self.for_ else "",
        )
        return " ".join(filter(None, parts)) + (", preemption suspended" if self.suspended else "")

    def to_json(self) -> dict[str, Any]:
        """Return the fields that say something; `from_json` adds the others."""
        row = {
            "deployment": self.deployment,
            "kind": self.kind,
            "source": self.source,
            "target": self.target,
            "for": self.for_,
            "code": self.code,
            "suspended": self.suspended,
        }
        return {name: value for name, value in row.items() if value}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Decision":
        """Return the decision. Raises KeyError or ValueError for what `to_json` never returns."""
        return cls(
            row["deployment"],
            Kind(row["kind"]),
            row.get("source"),
            row.get("target"),
            row.get("for"),
            row.get("code", ""),
            row.get("suspended", False),
        )


Decisions = dict[int, Decision]
"""The decision about each deployment that does not simply stay as it is, by its id."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A deployment about which a replay decides otherwise."""

    was: Decision
    now: Decision

    @property
    def deployment(self) -> int:
        return self.was.deployment

    def __str__(self) -> str:
        return f"deployment {self.deployment}: {self.was} → {self.now}"

    def to_json(self) -> dict[str, Any]:
        return {
            "deployment": self.deployment,
            "was": self.was.to_json(),
            "now": self.now.to_json(),
        }


def pack(snapshot: Snapshot, plan: Plan) -> bytes:
    """Return a snapshot and the decisions of its plan, compressed: about 25 bytes a deployment."""
    decided = [decision.to_json() for decision in decisions(plan).values()]
    # The former release reads `decisions`. Without any, its pages show the snapshot alone.
    document = {"snapshot": snapshot.to_json(), "decided": decided, "decisions": {}}
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
    snapshot = Snapshot.from_json(stored | {"policy": policy})
    if "decided" in document:
        return snapshot, _by_id(map(Decision.from_json, document["decided"]))
    return snapshot, _by_id(_read(int(pk), words) for pk, words in document["decisions"].items())


def replay(record: bytes, settings: Mapping[str, Any]) -> list[Difference]:
    """Plan a recorded snapshot again, with other settings if any; return what comes out different.

    Raises ValueError that names a setting that does not exist or cannot have that value.
    """
    snapshot, before = unpack(record)
    policy = snapshot.policy.with_values(settings)
    after = decisions(make_plan(replace(snapshot, policy=policy)))
    return [
        Difference(was, now)
        for pk in sorted(before.keys() | after.keys())
        if (was := before.get(pk, Decision(pk, Kind.STAYS)))
        != (now := after.get(pk, Decision(pk, Kind.STAYS)))
    ]


def decisions(plan: Plan) -> Decisions:
    """Return the plan's decisions."""
    suspended = {s.deployment for s in plan.suspensions}
    found = _by_id(
        [
            *(Decision(h.deployment, Kind.WAITS, code=h.code) for h in plan.wait_reasons),
            *(Decision(p.deployment, Kind.PLACED, target=p.cluster) for p in plan.placements),
            *(
                Decision(e.deployment, Kind.EVICTED, source=e.cluster, for_=e.for_)
                for e in plan.evictions
            ),
            *(
                Decision(m.deployment, Kind.MOVED, source=m.source, target=m.target, for_=m.for_)
                for m in plan.moves
            ),
        ]
    )
    return found | {pk: replace(found[pk], suspended=True) for pk in suspended}


def _by_id(found: Iterable[Decision]) -> Decisions:
    return {decision.deployment: decision for decision in found}


_WORDS = re.compile(
    r"(?P<kind>\w+)(?: \((?P<code>\w+)\))?(?: from (?P<source>\d+))?(?: (?:on|to) (?P<target>\d+))?"
    r"(?: for (?P<for_>\d+|None))?(?P<suspended>, preemption suspended)?"
)


def _read(deployment: int, words: str) -> Decision:
    """Read a decision of a record of a former release, which kept words.

    Raises ValueError for words that no cycle wrote.
    """
    parts = _WORDS.fullmatch(words)
    if parts is None or parts["kind"] not in list(Kind):
        raise ValueError(f"deployment {deployment}: {words!r} is no decision")
    ids = {
        name: int(text) if (text := parts[name]) and text != "None" else None
        for name in ("source", "target", "for_")
    }
    code, suspended = parts["code"] or "", bool(parts["suspended"])
    return Decision(deployment, Kind(parts["kind"]), code=code, suspended=suspended, **ids)
