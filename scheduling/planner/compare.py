"""What becomes of each deployment when something is changed, beside what would have anyway."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import Deployment, Snapshot


class Kind(StrEnum):
    """What becomes of a deployment that the change concerns; the gravest first."""

    EVICTED = "evicted"
    LEAVES = "leaves"
    MOVES = "moves"
    RESTARTS = "restarts"
    WAITS = "waits"
    STAYS = "stays"
    STARTS = "starts"


@dataclass(frozen=True, slots=True)
class Consequence:
    """What becomes of one deployment because of the change, and why.

    It is on cluster `source` now and on `target` afterwards, None when on none. `for_` is the
    deployment that it makes room for. One that `leaves` no longer competes at all.
    """

    deployment: int
    priority: int
    kind: Kind
    source: int | None
    target: int | None
    for_: int | None
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Fate:
    """Where a plan has a deployment, with the plan's own words."""

    where: int | None
    for_: int | None
    code: str
    reason: str

    def resembles(self, other: "_Fate") -> bool:
        """Two placements are alike whatever the words, two waits when for the same cause."""
        same = (self.where, self.for_) == (other.where, other.for_)
        return same and (self.where is not None or self.code == other.code)


def consequences(
    before: Snapshot, without: Plan, after: Snapshot, with_: Plan
) -> tuple[Consequence, ...]:
    """Return, by id, what the change from `before` to `after` brings about.

    `without` and `with_` are their plans. What the next cycle would do in any case is not in it;
    each deployment whose own row was changed is.
    """
    return tuple(_consequences(before, without, after, with_))


def _consequences(
    before: Snapshot, without: Plan, after: Snapshot, with_: Plan
) -> Iterator[Consequence]:
    rows = {d.id: d for d in before.deployments}
    changed = {d.id: d for d in after.deployments}
    old, new = _fates(before, without), _fates(after, with_)
    for id_ in sorted(rows.keys() | changed.keys()):
        was, now = rows.get(id_), changed.get(id_)
        if now is None:
            yield _leaver(rows[id_])
        elif was != now or not old[id_].resembles(new[id_]):
            yield _consequence(was, now, new[id_])


def _leaver(row: Deployment) -> Consequence:
    return Consequence(row.id, row.priority, Kind.LEAVES, row.cluster, None, None, "leaves", "")


def _consequence(was: Deployment | None, now: Deployment, fate: _Fate) -> Consequence:
    source = was.cluster if was else None
    kind = _kind(source, now.cluster, fate.where)
    return Consequence(
        now.id, now.priority, kind, source, fate.where, fate.for_, fate.code, fate.reason
    )


def _kind(source: int | None, at: int | None, target: int | None) -> Kind:
    """Name the way from `source`, where it is now, over `at`, where the change leaves it."""
    if target is None:
        return Kind.WAITS if at is None else Kind.EVICTED
    if source is None:
        return Kind.STARTS
    if source != target:
        return Kind.MOVES
    return Kind.RESTARTS if at is None else Kind.STAYS


def _fates(snapshot: Snapshot, plan: Plan) -> dict[int, _Fate]:
    fates = {d.id: _Fate(d.cluster, None, "stays", "") for d in snapshot.deployments}
    for p in plan.placements:
        fates[p.deployment] = _Fate(p.cluster, None, p.code, p.reason)
    for e in plan.evictions:
        fates[e.deployment] = _Fate(None, e.for_, e.code, e.reason)
    for m in plan.moves:
        fates[m.deployment] = _Fate(m.target, m.for_, m.code, m.reason)
    for h in plan.wait_reasons:
        fates[h.deployment] = _Fate(None, None, h.code, h.reason)
    return fates
