"""Compare the plan for a changed snapshot with the plan for the unchanged one."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import Deployment, Snapshot


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


@dataclass(frozen=True, slots=True)
class Consequence:
    """What happens to one deployment because of a change, and why.

    It is on cluster `source` now and on `target` afterwards, None when on none. `for_` is the
    preemptor.
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
class _Decision:
    """What a plan decides about a deployment: its cluster, the preemptor, and the plan's reason."""

    where: int | None
    for_: int | None
    code: str
    reason: str

    def is_equivalent(self, other: "_Decision") -> bool:
        """Return whether both place it in the same way, or let it wait with the same code."""
        same = (self.where, self.for_) == (other.where, other.for_)
        return same and (self.where is not None or self.code == other.code)


def consequences(
    before: Snapshot, without: Plan, after: Snapshot, with_: Plan
) -> tuple[Consequence, ...]:
    """Return the consequences of the change from `before` to `after`, sorted by deployment.

    `without` is the plan for `before`, `with_` the plan for `after`. What the next cycle does in
    both plans is left out, except for deployments whose rows the change alters.
    """
    return tuple(_consequences(before, without, after, with_))


def _consequences(
    before: Snapshot, without: Plan, after: Snapshot, with_: Plan
) -> Iterator[Consequence]:
    rows = {d.id: d for d in before.deployments}
    changed = {d.id: d for d in after.deployments}
    old, new = _decisions(before, without), _decisions(after, with_)
    for id_ in sorted(rows.keys() | changed.keys()):
        was, now = rows.get(id_), changed.get(id_)
        if now is None:
            yield _removed(rows[id_])
        elif was != now or not old[id_].is_equivalent(new[id_]):
            yield _consequence(was, now, new[id_])


def _removed(row: Deployment) -> Consequence:
    return Consequence(
        row.id, row.priority, Kind.WITHDRAWN, row.cluster, None, None, "withdrawn", ""
    )


def _consequence(was: Deployment | None, now: Deployment, decision: _Decision) -> Consequence:
    source = was.cluster if was else None
    kind = _kind(source, now.cluster, decision.where)
    return Consequence(
        now.id,
        now.priority,
        kind,
        source,
        decision.where,
        decision.for_,
        decision.code,
        decision.reason,
    )


def _kind(source: int | None, at: int | None, target: int | None) -> Kind:
    """Classify the change from `source` to `target`; the changed snapshot has it on `at`."""
    if target is None:
        return Kind.WAITS if at is None else Kind.EVICTED
    if source is None:
        return Kind.STARTS
    if source != target:
        return Kind.MOVES
    return Kind.RESTARTS if at is None else Kind.STAYS


def _decisions(snapshot: Snapshot, plan: Plan) -> dict[int, _Decision]:
    found = {d.id: _Decision(d.cluster, None, "stays", "") for d in snapshot.deployments}
    for p in plan.placements:
        found[p.deployment] = _Decision(p.cluster, None, p.code, p.reason)
    for e in plan.evictions:
        found[e.deployment] = _Decision(None, e.for_, e.code, e.reason)
    for m in plan.moves:
        found[m.deployment] = _Decision(m.target, m.for_, m.code, m.reason)
    for w in plan.wait_reasons:
        found[w.deployment] = _Decision(None, None, w.code, w.reason)
    return found
