"""The rules of docs/scheduling.md as predicates on a snapshot and its plan.

They are independent of the planner's search, and simple rather than fast.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from scheduling.planner.plan import Eviction, Move, Placement, Plan, WaitReason
from scheduling.planner.policy import Order
from scheduling.planner.requirements import Operator, Requirement
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Bin, ClusterState, Deployment, Place, Snapshot
from scheduling.planner.suspension import suspended

_MISSING = object()


@dataclass
class Result:
    """A snapshot and its plan. `homes` and `after` are the cluster and the node of each active
    deployment before and after the plan. `taking_turns` maps each deployment that takes turns to
    whether its turn is now.
    """

    snapshot: Snapshot
    plan: Plan
    bins: dict[Place, Bin] = field(init=False)
    deployments: dict[int, Deployment] = field(init=False)
    homes: dict[int, Place] = field(init=False)
    after: dict[int, Place] = field(init=False)
    taking_turns: dict[int, bool] = field(init=False)

    def __post_init__(self) -> None:
        self.snapshot = suspended(self.snapshot, self.plan.suspensions)
        self.bins = {bin_.place: bin_ for bin_ in self.snapshot.bins}
        self.deployments = {d.id: d for d in self.snapshot.deployments}
        self.homes = self.snapshot.homes()
        self.after = self.homes.copy()
        for eviction in self.plan.evictions:
            del self.after[eviction.deployment]
        for move in self.plan.moves:
            self.after[move.deployment] = move.target, move.target_node
        for placement in self.plan.placements:
            self.after[placement.deployment] = placement.cluster, placement.node
        self.taking_turns = dict(_taking_turns(self))

    def before(self, place: Place) -> list[Deployment]:
        return [self.deployments[d] for d, home in self.homes.items() if home == place]

    def on(self, place: Place) -> list[Deployment]:
        return [self.deployments[d] for d, at in self.after.items() if at == place]

    def staying(self, place: Place) -> list[Deployment]:
        return [d for d in self.on(place) if self.homes.get(d.id) == place]

    def starting(self, place: Place) -> list[Deployment]:
        return [d for d in self.on(place) if self.homes.get(d.id) != place]

    def is_suspended(self, d: Deployment) -> bool:
        """Return whether preemption is suspended for the ready deployment."""
        until = d.suspended_until
        return d.cluster is None and until is not None and until > self.snapshot.now

    def preemptors(self, victim: Deployment, place: Place) -> list[Deployment]:
        """Return the deployments that start on the node and may evict the victim."""
        return [
            s
            for s in self.starting(place)
            if not self.is_suspended(s) and self.evictable(victim, s.priority)
        ]

    def evictable(self, victim: Deployment, priority: int) -> bool:
        policy = self.snapshot.policy
        since = self.snapshot.now if victim.placed_at is None else victim.placed_at
        ran = self.snapshot.now - since
        within = victim.recent_preemptions < policy.preemption_budget
        gap = priority - victim.priority
        return (
            gap > 0
            and victim.preemptible
            and (policy.min_run_seconds <= ran or victim.placed_at is None)
            and (within or gap >= policy.budget_override_gap)
        )

    def is_eligible(self, bin_: Bin, deployment: Deployment) -> bool:
        """Return whether the deployment may start on the node; not on an overcommitted one."""
        return (
            bin_.cluster.state == bin_.node.state == ClusterState.ACTIVE
            and deployment.requested_cluster in (None, bin_.cluster.id)
            and all(_holds(r, bin_.node.labels) for r in deployment.require)
            and deployment.request.fits_in(bin_.node.capacity)
            and self.is_within_capacity(bin_)
        )

    def is_within_capacity(self, bin_: Bin) -> bool:
        """Return whether the deployments that were active before fit on the node."""
        return total(self.before(bin_.place)).fits_in(bin_.capacity)

    def is_reserved(self, place: Place, deployment: Deployment) -> bool:
        """Return whether the node has a reservation that this deployment must respect."""
        for wait in self.plan.wait_reasons:
            reservation = wait.detail.get("reservation")
            if reservation and _place(reservation) == place:
                holder = self.deployments[wait.deployment]
                ends = deployment.max_runtime_s
                until = reservation["until"]
                known = ends is not None and until is not None
                in_time = known and until - self.snapshot.now >= ends
                if holder.id != deployment.id and holder.priority >= deployment.priority:
                    if in_time:
                        return False
                    passes = any(
                        self._is_refused(h, place, holder, deployment.priority)
                        for h in self.deployments.values()
                    )
                    return passes or not self.may_backfill(deployment, holder.priority)
        return False

    def _is_refused(self, h: Deployment, place: Place, holder: Deployment, above: int) -> bool:
        """Return whether h, of a priority above this one, waits and respects the reservation."""
        return (
            h.id not in self.after
            and h.id != holder.id
            and above < h.priority <= holder.priority
            and self.is_eligible(self.bins[place], h)
            and not self.may_backfill(h, holder.priority)
        )

    def goes_first(self, id_: int) -> bool:
        """Return whether it goes first in its level: in its turn, or if it had a reservation."""
        now = self.taking_turns.get(id_)
        return now is not None and (now or self.deployments[id_].reserved)

    def holders(self) -> dict[int, Place]:
        """Return the ids of the deployments that have a reservation, and the node of each."""
        reservations = {w.deployment: w.detail.get("reservation") for w in self.plan.wait_reasons}
        return {id_: _place(row) for id_, row in reservations.items() if row}

    def may_backfill(self, deployment: Deployment, priority: int) -> bool:
        """Return whether it may use capacity reserved for a priority that could evict it again."""
        policy = self.snapshot.policy
        moved = deployment.cluster is not None
        started = replace(
            deployment,
            placed_at=self.snapshot.now,
            recent_preemptions=deployment.recent_preemptions + moved,
        )
        return policy.backfill == "evictable" and self.evictable(started, priority)

    def passes_a_turn_on(self) -> bool:
        """Return whether the plan's starts give a turn to a deployment that had none."""
        turns = Result(self.carried_out(), Plan()).taking_turns
        return any(now and not self.taking_turns.get(id_) for id_, now in turns.items())

    def carried_out(self) -> Snapshot:
        """Return the snapshot after the plan, at the same moment."""
        rows = []
        holders = self.holders()
        for row in self.snapshot.deployments:
            d = replace(row, reserved=row.id in holders)
            now = self.after.get(d.id)
            if now == self.homes.get(d.id):
                rows.append(d)
            elif now is None:
                evictions = d.recent_preemptions + 1
                rows.append(
                    replace(d, cluster=None, node=None, placed_at=None, checkpoint_at=None,
                            recent_preemptions=evictions, ready_since=self.snapshot.now)
                )  # fmt: skip
            else:
                moved = d.cluster is not None
                rows.append(
                    replace(d, cluster=now[0], node=now[1], placed_at=self.snapshot.now,
                            checkpoint_at=None, recent_preemptions=d.recent_preemptions + moved)
                )  # fmt: skip
        return replace(self.snapshot, deployments=tuple(rows))


def _place(reservation: Mapping[str, Any]) -> Place:
    return reservation["cluster"], reservation["node"]


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement.label, _MISSING), requirement.values
    return {
        Operator.IN: value in values,
        Operator.NOT_IN: value not in values,
        Operator.EXISTS: value is not _MISSING,
        Operator.ABSENT: value is _MISSING,
    }[requirement.operator]


def _taking_turns(result: Result) -> Iterator[tuple[int, bool]]:
    """Yield the deployments that take turns, and whether the turn of each is now."""
    snapshot, groups = result.snapshot, defaultdict(list)
    threshold = max(snapshot.policy.starvation_seconds, 1)
    for d in result.deployments.values():
        waited = snapshot.now - d.waits_since
        competes = d.cluster is None and not result.is_suspended(d)
        if not competes or waited <= snapshot.policy.starvation_seconds:
            continue
        if any(result.is_eligible(bin_, d) for bin_ in result.bins.values()):
            ages = range(int(waited / threshold).bit_length() + 1)
            periods = [threshold] + [threshold * 2**n for n in ages]
            began = [p for p in periods if snapshot.now // p * p - p >= d.waits_since]
            groups[max(began, default=threshold)].append(d)
    for period, members in groups.items():
        first = min(members, key=lambda d: (-d.priority, d.waits_since, d.id))
        allowed = Fraction(snapshot.policy.reservation_percent, 100 * len(groups))
        share = _share(first, snapshot)
        part = min(allowed / share, Fraction(1)) if share else Fraction(1)
        yield first.id, snapshot.now % period < int(part * period)


def _share(d: Deployment, snapshot: Snapshot) -> Fraction:
    """Return the largest share of the total capacity that d requests."""
    whole = sum((c.capacity for c in snapshot.clusters), NOTHING).to_json()
    return max(Fraction(n, max(whole[name], 1)) for name, n in d.request.to_json().items())


def total(deployments: Iterable[Deployment]) -> Resources:
    return sum((d.request for d in deployments), NOTHING)


def violations(snapshot: Snapshot, plan: Plan) -> list[str]:
    """Return a sentence for each violation of rules 1 to 5 and 12."""
    result = Result(snapshot, plan)
    checks = (capacity, eligibility, only_when_needed, no_idle_waiting, in_order, explained)
    return [sentence for check in checks for sentence in check(result)]


def capacity(result: Result) -> Iterator[str]:
    for bin_ in result.bins.values():
        allocated = total(result.on(bin_.place))
        if result.starting(bin_.place) and not allocated.fits_in(bin_.capacity):
            yield f"rule 1: {bin_.label} is oversubscribed"


def eligibility(result: Result) -> Iterator[str]:
    for bin_ in result.bins.values():
        for d in result.starting(bin_.place):
            if not result.is_eligible(bin_, d):
                yield f"rule 2: {d.id} may not run on {bin_.label}"


def only_when_needed(result: Result) -> Iterator[str]:
    for id_, place in result.homes.items():
        d, home = result.deployments[id_], result.bins[place]
        if result.after.get(id_) == place or home.state == ClusterState.DRAINING:
            continue
        if not _displaced(result, d, home):
            yield f"rule 3: {id_} is displaced from {home.label} without need"


def _displaced(result: Result, e: Deployment, home: Bin) -> bool:
    """Return whether e does not fit any more at the level of some deployment that may evict it.

    At a level, e has to fit next to the deployments that start there at that level or above, and
    those of its own or a higher priority, and those that the level may not evict, unless they lose
    their place for that level or a higher one. In the end, e has to fit next to all that start
    there above its priority, and those of its own or a higher priority, and the spared ones that
    stay. With preemption suspended, a deployment does not displace e, but others may because it
    takes free capacity.
    """
    before = [d for d in result.before(home.place) if d is not e]
    stay = {d.id for d in result.staying(home.place)}
    starts = result.starting(home.place)
    for level in {s.priority for s in result.preemptors(e, home.place)}:
        first = [d for d in before if d.priority >= e.priority or not result.evictable(d, level)]
        at_last = [d for d in first if d.id in stay] + [
            s for s in starts if s.priority > e.priority
        ]
        at_level = [s for s in starts if s.priority >= level]
        at_level += [d for d in first if d.id in stay or _is_evicted_below(result, d, home, level)]
        if not any(total([e, *some]).fits_in(home.capacity) for some in (at_level, at_last)):
            return True
    return False


def _is_evicted_below(result: Result, d: Deployment, home: Bin, level: int) -> bool:
    """Return whether d, which is displaced, may have lost its place for a lower level only."""
    return any(s.priority < level for s in result.preemptors(d, home.place))


def no_idle_waiting(result: Result) -> Iterator[str]:
    for d in result.deployments.values():
        if d.id in result.after or (d.cluster is not None and d.requested_cluster == d.cluster):
            continue
        for place, bin_ in result.bins.items():
            if (
                result.is_eligible(bin_, d)
                and not result.is_reserved(place, d)
                and total([d, *_blocking(result, d, place)]).fits_in(bin_.capacity)
            ):
                yield f"rule 4: {d.id} waits although it fits on {bin_.label}"


def _blocking(result: Result, d: Deployment, place: Place) -> list[Deployment]:
    """Return the deployments on the node next to which d has to fit.

    If preemption is suspended for d, they are all that were active there before, and those that
    start there at its level or above.
    """
    if result.is_suspended(d):
        starting = result.starting(place)
        return result.before(place) + [s for s in starting if s.priority >= d.priority]
    blocking = []
    for other in result.on(place):
        starts = result.homes.get(other.id) != place
        if other.priority > d.priority:
            blocking.append(other)
        elif other.priority == d.priority:
            if not starts or not (result.is_suspended(other) or _goes_before(result, d, other)):
                blocking.append(other)
        elif not starts and not result.evictable(other, d.priority):
            blocking.append(other)
    return blocking


def _goes_before(result: Result, d: Deployment, other: Deployment) -> bool:
    """Return whether d certainly goes before another one of its level, which starts.

    With `most`, the planner may place a level in any order, except the deployments whose turn it
    is. With `fifo`, only victims go before the longest waiting.
    """
    if result.goes_first(d.id):
        waited_longer = (other.waits_since, other.id) < (d.waits_since, d.id)
        return not (result.goes_first(other.id) and waited_longer)
    is_fifo, turn = result.snapshot.policy.order == Order.FIFO, _turn(result, other)
    return is_fifo and turn > _turn(result, d) and turn[:2] == (True, True)


def in_order(result: Result) -> Iterator[str]:
    """Yield deployments that wait although an equal one, which comes after them, starts.

    Equal are two of one priority with the same request, requested cluster and required labels. If
    the other one starts on a node that is reserved for a third, it may be equal and still be
    allowed there.
    """
    equals: dict[object, list[Deployment]] = defaultdict(list)
    for d in result.deployments.values():
        if not result.is_suspended(d):
            equals[d.priority, d.request, d.requested_cluster, d.require].append(d)
    for group in equals.values():
        group.sort(key=lambda d: _turn(result, d))
        for number, d in enumerate(group):
            for other in group[number + 1 :] if d.id not in result.after else ():
                place = result.after.get(other.id)
                starts = place is not None and place != result.homes.get(other.id)
                if place is not None and starts and not result.is_reserved(place, d):
                    yield f"rule 5: {d.id} waits, and {other.id}, which comes after it, starts"


def _turn(result: Result, d: Deployment) -> tuple[bool, bool, int, int]:
    """Return the place in the order of rule 5 among equal requests.

    A deployment that goes first by rule 9 is the head. An active one goes before those that wait,
    unless it has to leave a draining cluster.
    """
    if result.goes_first(d.id):
        return False, False, d.waits_since, d.id
    home = result.homes.get(d.id)
    drains = home is None or result.bins[home].state == ClusterState.DRAINING
    return True, drains, d.queued_at if drains else 0, d.id


def explained(result: Result) -> Iterator[str]:
    plan = result.plan
    rows: list[Placement | Eviction | Move | WaitReason] = [*plan.placements, *plan.wait_reasons]
    rows += [*plan.evictions, *plan.moves]
    for row in rows:
        if not row.code or not row.reason.endswith("."):
            yield f"rule 12: {row.deployment} has no reason"
    decided = {p.deployment for p in plan.placements} | {w.deployment for w in plan.wait_reasons}
    ready = {d.id for d in result.deployments.values() if d.cluster is None}
    if decided != ready:
        yield f"rule 12: no decision about {sorted(decided ^ ready)}"
    displaced: list[Eviction | Move] = [*plan.evictions, *plan.moves]
    for change in displaced:
        victim = result.deployments[change.deployment]
        source = result.homes.get(victim.id)
        if source is None:
            yield f"rule 12: {victim.id} is displaced, but was not active"
            continue
        preemptors = {s.id for s in result.preemptors(victim, source)}
        drains = result.bins[source].state == ClusterState.DRAINING
        if not drains and change.for_ not in preemptors:
            yield f"rule 12: {victim.id} is displaced for {change.for_}, which may not evict it"
    yield from beneficiaries(result)


def beneficiaries(result: Result) -> Iterator[str]:
    """Yield preemptions for one deployment that another one needs, and sentences that hide them."""
    displaced: list[Eviction | Move] = [*result.plan.evictions, *result.plan.moves]
    victims: dict[int, list[Deployment]] = defaultdict(list)
    for change in displaced:
        if change.for_ is not None:
            victims[change.for_].append(result.deployments[change.deployment])
    for p in result.plan.placements:
        if (p.code == "preempting") != (p.deployment in victims):
            yield f"rule 12: the placement of {p.deployment} is called {p.code}"
    for preemptor, own in victims.items():
        starting = result.starting(result.after[preemptor])
        suspended_ones = [s for s in starting if result.is_suspended(s)]
        needed = total([result.deployments[preemptor], *suspended_ones])
        for victim in own:
            others = total(own) - victim.request
            if needed.fits_in(others) and any(
                other.id not in victims and not _fits_in_free_capacity(result, other)
                for other in result.preemptors(victim, result.after[preemptor])
            ):
                yield f"rule 12: {victim.id} is displaced for {preemptor}, but another needs it"


def _fits_in_free_capacity(result: Result, d: Deployment) -> bool:
    """Return whether d, which starts, needs no eviction after those that go before it."""
    place = result.after[d.id]
    before = [s for s in result.starting(place) if s.priority >= d.priority]
    return total([*result.before(place), *before]).fits_in(result.bins[place].capacity)
