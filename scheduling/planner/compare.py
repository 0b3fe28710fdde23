"""Compare the plan for a changed snapshot with the plan for the unchanged one."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from operator import attrgetter

from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import Deployment, Place, Snapshot, homes

_NOWHERE = None, None
_id = attrgetter("id")


class Kind(StrEnum):
    """What happens to a deployment because of a change; the worst first.

    `WITHDRAWN`: the deployment no longer competes, because it was held or ended, or is in back-off.
    """

    EVICTED = "evicted"
    WITHDRAWN = "withdrawn"
    MOVES = "moves"
    RESTARTS = "restarts"
    WAITS = "waits"
    STAYS = "stays"
    STARTS = "starts"


KINDS = tuple(Kind)
"""All kinds, the worst first."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What happens to one deployment because of a change, and why.

    It is on `source_node` of the cluster `source` now and on `target_node` of `target` afterwards,
    None when on none. `for_` is the preemptor.
    """

    deployment: int
    priority: int
    kind: Kind
    source: int | None
    source_node: int | None
    target: int | None
    target_node: int | None
    for_: int | None
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Decision:
    """What a plan decides about a deployment: its place, the preemptor, and the plan's reason."""

    where: Place | None
    for_: int | None
    code: str
    reason: str

    def is_equivalent(self, other: "_Decision") -> bool:
        """Return whether both place it in the same way, or let it wait with the same code."""
        same = (self.where, self.for_) == (other.where, other.for_)
        return same and (self.where is not None or self.code == other.code)


def consequences(
    before: Snapshot,
    without: Plan,
    after: Snapshot,
    with_: Plan,
    *,
    altered: Collection[int] | None = None,
) -> tuple[Consequence, ...]:
    """Return the consequences of the change from `before` to `after`, sorted by deployment.

    `without` is the plan for `before`, `with_` the plan for `after`. What the next cycle does in
    both plans is left out, except for deployments whose rows the change alters.

    If the ids of these rows are given as `altered`, the deployments that wait in both plans are
    left out as well, even if for another reason. So the costs do not depend on how many wait.
    """
    ids = None if altered is None else {*altered, *_decided(without), *_decided(with_)}
    return tuple(_consequences(before, without, after, with_, ids))


def _consequences(
    before: Snapshot, without: Plan, after: Snapshot, with_: Plan, ids: Collection[int] | None
) -> Iterator[Consequence]:
    rows, changed = _rows(before, ids), _rows(after, ids)
    before_homes, after_homes = _homes(before, rows), _homes(after, changed)
    old, new = _decisions(rows, before_homes, without), _decisions(changed, after_homes, with_)
    for id_ in sorted(rows.keys() | changed.keys()):
        was, now = rows.get(id_), changed.get(id_)
        if now is None:
            yield _removed(rows[id_], before_homes.get(id_))
        elif was != now or not old[id_].is_equivalent(new[id_]):
            yield _consequence(now, before_homes.get(id_), after_homes.get(id_), new[id_])


def _rows(snapshot: Snapshot, ids: Collection[int] | None) -> dict[int, Deployment]:
    rows = snapshot.deployments
    chosen = rows if ids is None else compress(rows, map(ids.__contains__, map(_id, rows)))
    return {d.id: d for d in chosen}


def _homes(snapshot: Snapshot, rows: Mapping[int, Deployment]) -> dict[int, Place]:
    return homes(snapshot.clusters, rows.values())


def _decided(plan: Plan) -> Iterator[int]:
    """Yield the deployments that a plan places, evicts or moves."""
    yield from (placement.deployment for placement in plan.placements)
    yield from (eviction.deployment for eviction in plan.evictions)
    yield from (move.deployment for move in plan.moves)


def _removed(row: Deployment, home: Place | None) -> Consequence:
    decision = _Decision(None, None, "withdrawn", "")
    return _of(row, Kind.WITHDRAWN, home, decision)


def _consequence(
    now: Deployment, source: Place | None, at: Place | None, decision: _Decision
) -> Consequence:
    return _of(now, _kind(source, at, decision.where), source, decision)


def _of(row: Deployment, kind: Kind, home: Place | None, decision: _Decision) -> Consequence:
    source, source_node = home or _NOWHERE
    target, target_node = decision.where or _NOWHERE
    return Consequence(
        row.id,
        row.priority,
        kind,
        source,
        source_node,
        target,
        target_node,
        decision.for_,
        decision.code,
        decision.reason,
    )


def _kind(source: Place | None, at: Place | None, target: Place | None) -> Kind:
    """Classify the change from `source` to `target`; the changed snapshot has it on `at`."""
    if target is None:
        return Kind.WAITS if at is None else Kind.EVICTED
    if source is None:
        return Kind.STARTS
    if source != target:
        return Kind.MOVES
    return Kind.RESTARTS if at is None else Kind.STAYS


def _decisions(
    rows: Collection[int], homes: Mapping[int, Place], plan: Plan
) -> dict[int, _Decision]:
    """Return what the plan decides about these deployments."""
    found = {id_: _decision(plan, id_, homes.get(id_)) for id_ in rows}
    for p in plan.placements:
        found[p.deployment] = _Decision((p.cluster, p.node), None, p.code, p.reason)
    for e in plan.evictions:
        found[e.deployment] = _Decision(None, e.for_, e.code, e.reason)
    for m in plan.moves:
        found[m.deployment] = _Decision((m.target, m.target_node), m.for_, m.code, m.reason)
    return found


def _decision(plan: Plan, deployment: int, home: Place | None) -> _Decision:
    """Return the decision about a deployment whose place does not change."""
    wait = plan.wait_reason(deployment) if home is None else None
    if wait is None:
        return _Decision(home, None, "stays", "")
    return _Decision(None, None, wait.code, wait.reason)
