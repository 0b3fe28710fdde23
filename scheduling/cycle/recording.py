"""The record of a cycle: its snapshot and its decisions, so that it can be planned again."""

import json
import re
import zlib
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter, is_
from typing import Any

import psycopg
from django.db import connection

from scheduling.cycle.deflating import Piece, deflate, joined
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy
from scheduling.planner.snapshot import Deployment, Snapshot, deployment_to_json


class Kind(StrEnum):
    PLACED = "placed"
    EVICTED = "evicted"
    MOVED = "moved"
    WAITS = "waits"
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a cycle decided about a deployment.

    `source` and `target` are clusters, `node` is the node on the target if that has several. `for_`
    is the preemptor, None when the source drains. `code` is the wait reason. `suspended`: this
    cycle has suspended preemption for the deployment.
    """

    deployment: int
    kind: Kind
    source: int | None = None
    target: int | None = None
    for_: int | None = None
    code: str = ""
    suspended: bool = False
    node: int | None = None

    def __str__(self) -> str:
        parts = (
            self.kind.value,
            self.code and f"({self.code})",
            f"from {self.source}" if self.source else "",
            f"{'to' if self.kind is Kind.MOVED else 'on'} {self.target}" if self.target else "",
            f"(node {self.node})" if self.node else "",
            f"for {self.for_}" if self.for_ else "",
        )
        return " ".join(filter(None, parts)) + (", preemption suspended" if self.suspended else "")

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are not empty."""
        row = {
            "deployment": self.deployment,
            "kind": self.kind,
            "source": self.source,
            "target": self.target,
            "node": self.node,
            "for": self.for_,
            "code": self.code,
            "suspended": self.suspended,
        }
        return {name: value for name, value in row.items() if value}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Decision":
        """Return the decision. Raises KeyError or ValueError for anything else."""
        return cls(
            row["deployment"],
            Kind(row["kind"]),
            row.get("source"),
            row.get("target"),
            row.get("for"),
            row.get("code", ""),
            row.get("suspended", False),
            row.get("node"),
        )


Decisions = dict[int, Decision]
"""The decision about each deployment that does not stay where it is, by id."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A deployment about which a replay decides differently."""

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


def pack(snapshot: Snapshot, plan: Plan, *, codes: bool = True) -> bytes:
    """Return a snapshot and the decisions of its plan, compressed: about 20 bytes a deployment.

    `waits` has the waiting deployments by code, unless the plan suspends preemption for them. To
    find the codes of thousands costs more than the plan; without `codes`, `unpack` finds them.
    """
    decided = _carried_out(snapshot, plan)
    waits: dict[str, list[int]] = defaultdict(list)
    for wait in plan.wait_reasons if codes else ():
        if wait.deployment not in decided:
            waits[wait.code].append(wait.deployment)
    document = {
        # The former release reads `decisions`. When it is empty, its pages show only the snapshot.
        "decisions": {},
        "decided": [decision.to_json() for decision in decided.values()],
        "waits": waits,
        "has_codes": codes,
        "snapshot": replace(snapshot, deployments=()).to_json(),
    }
    text = json.dumps(document, separators=(",", ":"))
    return joined(
        [deflate(text.removesuffix(_END).encode()), *_pieces(snapshot.deployments), _TAIL]
    )


def store(cycle: SchedulingCycle, record: bytes) -> None:
    """Write the record of a cycle.

    It is sent as bytes. As a literal in the statement, as Django writes it, the record of 100,000
    deployments takes PostgreSQL and this process longer to write and to parse than to store.
    """
    cycle.record = record
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            "UPDATE scheduling_schedulingcycle SET record = %b WHERE id = %s", [record, cycle.pk]
        )


_END = "]}}"
"""The end of a document: its last part is the snapshot, whose last part are the deployments."""

_TAIL = deflate(_END.encode())
_COMMA = deflate(b",")

_BLOCK = 251
"""A block of deployments ends before an id beyond a multiple of this, so that a new or an absent
deployment changes only its own block."""

_id = attrgetter("id")

_MOST_BLOCKS = 4_000
_blocks: OrderedDict[int, tuple[Sequence[Deployment], Piece]] = OrderedDict()
"""The compressed blocks of deployments by the id of their first: most are in one record after
another and do not change."""


def _pieces(deployments: Sequence[Deployment]) -> Iterator[Piece]:
    """Yield the deployments, by id in order, in blocks with commas in between."""
    start = 0
    while start < len(deployments):
        if start:
            yield _COMMA
        last, most = -(-deployments[start].id // _BLOCK) * _BLOCK, start + _BLOCK
        end = bisect_right(deployments, last, start, min(most, len(deployments)), key=_id)
        yield _piece(deployments[start:end])
        start = end


def _piece(block: Sequence[Deployment]) -> Piece:
    first = block[0].id
    known = _blocks.get(first)
    if known and len(known[0]) == len(block) and all(map(is_, known[0], block)):
        _blocks.move_to_end(first)
        return known[1]
    rows = [json.dumps(deployment_to_json(each), separators=(",", ":")) for each in block]
    piece = deflate(",".join(rows).encode())
    _blocks[first] = block, piece
    _blocks.move_to_end(first)
    if len(_blocks) > _MOST_BLOCKS:
        _blocks.popitem(last=False)
    return piece


def unpack(record: bytes) -> tuple[Snapshot, Decisions]:
    """Return the snapshot and the decisions of a record of this release or an earlier one.

    A threshold that is missing in the record gets its default; a threshold that no longer exists is
    ignored. Raises ValueError for a record that cannot be read.
    """
    document = json.loads(zlib.decompress(record))
    stored = document["snapshot"]
    known = {each.name for each in Policy.thresholds()}
    policy = {name: value for name, value in stored["policy"].items() if name in known}
    snapshot = Snapshot.from_json(stored | {"policy": policy})
    if "decided" not in document:
        return snapshot, _by_id(_read(int(pk), text) for pk, text in document["decisions"].items())
    waits = [
        Decision(pk, Kind.WAITS, code=code)
        for code, ids in document.get("waits", {}).items()
        for pk in ids
    ]
    decided = _by_id([*waits, *map(Decision.from_json, document["decided"])])
    if not document.get("has_codes", True):
        decided = _waiting(snapshot, decided) | decided
    return snapshot, decided


def _waiting(snapshot: Snapshot, decided: Decisions) -> Decisions:
    """Return the decisions to let the other ready deployments wait, with this release's codes."""
    codes = {wait.deployment: wait.code for wait in make_plan(snapshot).wait_reasons}
    return _by_id(
        Decision(d.id, Kind.WAITS, code=codes.get(d.id, ""))
        for d in snapshot.deployments
        if d.cluster is None and d.id not in decided
    )


def replay(record: bytes, settings: Mapping[str, Any]) -> list[Difference]:
    """Plan a recorded snapshot again, with these settings changed; return the differences.

    Raises ValueError, which names the setting that does not exist or cannot have that value.
    """
    snapshot, before = unpack(record)
    snapshot = replace(snapshot, policy=snapshot.policy.with_values(settings))
    after = decisions(snapshot, make_plan(snapshot))
    return [
        Difference(was, now)
        for pk in sorted(before.keys() | after.keys())
        if (was := before.get(pk, Decision(pk, Kind.STAYS)))
        != (now := after.get(pk, Decision(pk, Kind.STAYS)))
    ]


def decisions(snapshot: Snapshot, plan: Plan) -> Decisions:
    """Return the decisions of the snapshot's plan."""
    waits = _by_id(Decision(w.deployment, Kind.WAITS, code=w.code) for w in plan.wait_reasons)
    return waits | _carried_out(snapshot, plan)


def _carried_out(snapshot: Snapshot, plan: Plan) -> Decisions:
    """Return the decisions that change something: all but those that only let one wait."""
    several = {cluster.id for cluster in snapshot.clusters if len(cluster.nodes) > 1}

    def placed(deployment: int, kind: Kind, cluster: int, node: int, **more: Any) -> Decision:
        where = node if cluster in several else None
        return Decision(deployment, kind, target=cluster, node=where, **more)

    found = _by_id(
        [
            *(placed(p.deployment, Kind.PLACED, p.cluster, p.node) for p in plan.placements),
            *(
                Decision(e.deployment, Kind.EVICTED, source=e.cluster, for_=e.for_)
                for e in plan.evictions
            ),
            *(
                placed(
                    m.deployment, Kind.MOVED, m.target, m.target_node, source=m.source, for_=m.for_
                )
                for m in plan.moves
            ),
        ]
    )
    for suspension in plan.suspensions:
        pk, wait = suspension.deployment, plan.wait_reason(suspension.deployment)
        decision = Decision(pk, Kind.WAITS, code=wait.code) if wait else found[pk]
        found[pk] = replace(decision, suspended=True)
    return found


def _by_id(found: Iterable[Decision]) -> Decisions:
    return {decision.deployment: decision for decision in found}


_WORDS = re.compile(
    r"(?P<kind>\w+)(?: \((?P<code>\w+)\))?(?: from (?P<source>\d+))?(?: (?:on|to) (?P<target>\d+))?"
    r"(?: for (?P<for_>\d+|None))?(?P<suspended>, preemption suspended)?"
)


def _read(deployment: int, words: str) -> Decision:
    """Return a decision that a former release recorded as text.

    Raises ValueError for a text that no release wrote.
    """
    parts = _WORDS.fullmatch(words)
    if parts is None or parts["kind"] not in list(Kind):
        raise ValueError(f"deployment {deployment}: {words!r} is not a decision")
    ids = {
        name: int(text) if (text := parts[name]) and text != "None" else None
        for name in ("source", "target", "for_")
    }
    code, suspended = parts["code"] or "", bool(parts["suspended"])
    return Decision(deployment, Kind(parts["kind"]), code=code, suspended=suspended, **ids)
