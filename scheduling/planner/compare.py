"""Compare the plan for a changed snapshot with the plan for the unchanged one."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import Deployment, Place, Snapshot

_NOWHERE = None, None


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
    rows, homes = {d.id: d for d in before.deployments}, before.homes()
    changed = {d.id: d for d in after.deployments}
    after_homes = after.homes()
    old, new = _decisions(before, without), _decisions(after, with_)
    for id_ in sorted(rows.keys() | changed.keys()):
        was, now = rows.get(id_), changed.get(id_)
        if now is None:
            yield _removed(rows[id_], homes.get(id_))
        elif was != now or not old[id_].is_equivalent(new[id_]):
            yield _consequence(now, homes.get(id_), after_homes.get(id_), new[id_])


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


def _decisions(snapshot: Snapshot, plan: Plan) -> dict[int, _Decision]:
    homes = snapshot.homes()
    found = {d.id: _Decision(homes.get(d.id), None, "stays", "") for d in snapshot.deployments}
    for p in plan.placements:
        found[p.deployment] = _Decision((p.cluster, p.node), None, p.code, p.reason)
    for e in plan.evictions:
        found[e.deployment] = _Decision(None, e.for_, e.code, e.reason)
    for m in plan.moves:
        found[m.deployment] = _Decision((m.target, m.target_node), m.for_, m.code, m.reason)
    for w in plan.wait_reasons:
        found[w.deployment] = _Decision(None, None, w.code, w.reason)
    return found
