"""When waiting deployments will start if nothing happens but expected ends.

The next plans are simulated: at each expected end, those of the first of the queue that fit then
start, in the order of the queue. So the forecast follows the scheduler's own rule that a deployment
that does not fit blocks no smaller one behind it. Slurm (`squeue --start`) and conservative
backfilling (Mu'alem and Feitelson, *Utilization, Predictability, Workloads, and User Runtime
Estimates in Scheduling the IBM SP2 with Backfilling*, 2001) reserve capacity for each in turn
instead.

For each deployment, the capacity of those that it may evict is free. How long a victim waits is not
simulated. Neither is what time alone changes: the ends of back-offs, of minimum run times and of
budgets, and later turns. Capacity that is reserved stays so until its holder starts, but not beyond
the present turn unless the time of that start is known.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, islice
from operator import attrgetter
from typing import NamedTuple

from scheduling.planner.eligibility import Eligibility
from scheduling.planner.free_over_time import NOTHING_EVICTABLE, FreeOverTime
from scheduling.planner.packed import OVERDRAWN, beyond, gpus, least, most, pack
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Backfill
from scheduling.planner.problem import threshold, threshold_once_started
from scheduling.planner.snapshot import ClusterState, Deployment, Place, Snapshot

MOST = 200
"""For how many waiting deployments there is a forecast: the first of the queue."""

_HORIZON_S = 30 * 86_400
_MOST_WORK = 200_000
"""How many comparisons a simulation makes, about a tenth of a microsecond each."""

RunTime = Callable[[Deployment, int], int | None]
"""Returns the run time in seconds that is expected of a deployment after so many of them; it is
longer than that, and None if nothing is known."""


class Unknown(StrEnum):
    """Why there is no forecast: too many are ahead; it takes too long to see, or the plan lets it
    wait although it fits; a deployment of whose run time nothing is known has to end; no node could
    run it.
    """

    AHEAD = "too_many_ahead"
    FAR = "too_far_ahead"
    ENDLESS = "unknown_run_time"
    NOWHERE = "no_eligible_node"


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a waiting deployment will start, in seconds since the epoch, and on which node.

    `needs` are the deployments that have to end before that, by id. If the start is `unknown`
    because nothing is known of their ends, `place` is the node on which the fewest have to.
    """

    starts_at: int | None = None
    place: Place | None = None
    needs: tuple[int, ...] = ()
    unknown: Unknown | None = None


class _Waiting(NamedTuple):
    row: Deployment
    request: int
    eligible: Sequence[int]
    view: int


class _Reservation(NamedTuple):
    """Capacity of a node that is reserved for its holder until it starts, or until `ends`.

    Deployments that end before `until` may use it.
    """

    holder: _Waiting
    until: int | None
    ends: int | None


@dataclass(slots=True)
class _Segment:
    """Adjacent deployments of the queue with the same view; `least` is the least they request."""

    view: int
    waiting: list[_Waiting]
    least: int


class Forecasts:
    """The forecasts of the first `MOST` waiting deployments of a plan's queue.

    `active` are the active deployments of the snapshot; `find` returns a ready one by its id.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        plan: Plan,
        active: Collection[Deployment],
        find: Callable[[int], Deployment],
        run_time: RunTime,
    ) -> None:
        self._snapshot, self._plan, self._run_time = snapshot, plan, run_time
        self._bins = snapshot.bins
        self._node_of = {bin_.place: c for c, bin_ in enumerate(self._bins)}
        self._found: dict[int, Forecast] = {}
        self._work, self._is_complete = 0, False
        self._suspended = {suspension.deployment for suspension in plan.suspensions}
        starting = {p.deployment: self._node_of[p.cluster, p.node] for p in plan.placements}
        rows = [find(pk) for pk in islice((pk for pk in plan.served if pk not in starting), MOST)]
        capacities = [pack(bin_.capacity) for bin_ in self._bins]
        self._time = FreeOverTime(capacities, map(self._sight, rows))
        is_open = self._occupy(capacities, active)
        for pk, c in starting.items():
            self._start(find(pk), c, snapshot.now)
            self._found[pk] = Forecast(snapshot.now, self._bins[c].place)
        queue = self._queue(rows, is_open)
        self._waiting = {each.row.id: each for each in queue}
        self._segments = [_segment(list(rows)) for _, rows in groupby(queue, attrgetter("view"))]
        self._reservations = dict(self._reserved())
        self._simulate()

    def of(self, deployment: int) -> Forecast:
        """Return the forecast of a ready deployment."""
        if deployment not in self._found:
            self._found[deployment] = self._without_start(deployment)
        return self._found[deployment]

    def _sight(self, row: Deployment) -> int:
        is_suspended = self._snapshot.is_suspended(row) or row.id in self._suspended
        return NOTHING_EVICTABLE if is_suspended else row.priority

    def _occupy(self, capacities: list[int], active: Collection[Deployment]) -> list[bool]:
        """Place the active deployments where the plan leaves them; return which nodes are open."""
        snapshot, plan = self._snapshot, self._plan
        only = {bin_.cluster.id: c for c, bin_ in enumerate(self._bins)}
        moved = {m.deployment: self._node_of[m.target, m.target_node] for m in plan.moves}
        gone = {e.deployment for e in plan.evictions}
        left, occupants = capacities.copy(), []
        for d in active:
            cluster, request = d.cluster or 0, pack(d.request)
            c = only[cluster] if d.node is None else self._node_of[cluster, d.node]
            left[c] -= request
            if d.id in moved:
                self._start(d, moved[d.id], snapshot.now)
            elif d.id not in gone:
                occupant = self._time.occupant(d.id, c, request, threshold(d, snapshot))
                occupants.append((occupant, self._end(d, d.placed_at)))
        self._time.place_all(occupants)
        return [
            bin_.state == ClusterState.ACTIVE and not rest & OVERDRAWN
            for bin_, rest in zip(self._bins, left, strict=True)
        ]

    def _end(self, d: Deployment, started: int | None) -> int | None:
        now = self._snapshot.now
        since = now if started is None else started
        run_time = self._run_time(d, max(now - since, 0))
        return None if run_time is None else since + run_time

    def _start(self, d: Deployment, c: int, at: int) -> None:
        lowest = threshold_once_started(d, self._snapshot.policy)
        occupant = self._time.occupant(d.id, c, pack(d.request), lowest)
        run_time = self._run_time(d, 0)
        self._time.place(occupant, None if run_time is None else at + run_time)

    def _queue(self, rows: Sequence[Deployment], is_open: Sequence[bool]) -> list[_Waiting]:
        eligibility, requests = Eligibility(self._bins, is_open), [pack(d.request) for d in rows]
        eligibility.add(rows, requests)
        views = [self._time.view_of(self._sight(d)) for d in rows]
        return list(map(_Waiting, rows, requests, eligibility.eligible, views))

    def _reserved(self) -> Iterator[tuple[int, _Reservation]]:
        """Yield the reservations of the plan by node."""
        turns = {turn.deployment: turn for turn in self._plan.turns}
        for wait in self._plan.reserved:
            found, holder = wait.detail["reservation"], self._waiting.get(wait.deployment)
            if holder is not None:
                c, until = self._node_of[found["cluster"], found["node"]], found["until"]
                turn = turns.get(wait.deployment)
                ends = turn.changes_at if until is None and turn and turn.now else None
                if ends is not None:
                    self._time.wake(c, ends)
                yield c, _Reservation(holder, until, ends)

    def _simulate(self) -> None:
        horizon = self._snapshot.now + _HORIZON_S
        while self._segments and (now := self._time.next_change) is not None:
            if now > horizon or self._work > _MOST_WORK:
                return
            self._cycle(self._time.advance(), now)
        self._is_complete = True

    def _cycle(self, nodes: Sequence[int], now: int) -> None:
        """Start what fits on these nodes, which have changed."""
        self._work += 1
        for segment in self._segments:
            free = self._time.free[segment.view]
            changed = [c for c in nodes if not (free[c] - segment.least) & OVERDRAWN]
            self._work += len(nodes)
            if changed:
                upper = most([free[c] for c in changed])
                self._work += len(segment.waiting)
                fitting = [w for w in segment.waiting if not (upper - w.request) & OVERDRAWN]
                for waiting in fitting:
                    self._try(segment, waiting, changed, now)
        self._segments = [segment for segment in self._segments if segment.waiting]

    def _try(self, segment: _Segment, waiting: _Waiting, nodes: Sequence[int], now: int) -> None:
        """Start a deployment on the node that it fills most, if it fits on any of these."""
        self._work += len(nodes)
        free, request = self._time.free[waiting.view], waiting.request
        places = [(left, c) for c in nodes if not ((left := free[c]) - request) & OVERDRAWN]
        if self._reservations:
            usable = [(self._usable(waiting, c, now), c) for _, c in places]
            places = [(left, c) for left, c in usable if not (left - request) & OVERDRAWN]
        c = next((c for _, c in sorted(places) if c in waiting.eligible), None)
        if c is not None:
            self._found[waiting.row.id] = self._forecast(waiting, c, now)
            self._start(waiting.row, c, now)
            segment.waiting.remove(waiting)
            self._reservations = {
                at: each for at, each in self._reservations.items() if each.holder is not waiting
            }

    def _forecast(self, waiting: _Waiting, c: int, now: int) -> Forecast:
        """Return the forecast of one that starts now, without the ends that others imply."""
        needs = self._time.needed(waiting.view, c, waiting.request)
        implied = {pk for each in needs if each in self._found for pk in self._found[each].needs}
        return Forecast(now, self._bins[c].place, tuple([pk for pk in needs if pk not in implied]))

    def _usable(self, waiting: _Waiting, c: int, now: int) -> int:
        """Return what is free for a deployment on a node, without what is reserved for another."""
        free, reservation = self._time.free[waiting.view][c], self._reservations.get(c)
        if reservation is None or (reservation.ends is not None and reservation.ends <= now):
            return free
        own, holder = waiting.row, reservation.holder.row
        is_above = own.priority > holder.priority
        if own is holder or is_above or own.ends_by(reservation.until, now):
            return free
        policy = self._snapshot.policy
        lower = threshold_once_started(own, policy) <= holder.priority
        if lower and policy.backfill == Backfill.EVICTABLE:
            return free
        return free if free & OVERDRAWN else beyond(free, reservation.holder.request)

    def _without_start(self, deployment: int) -> Forecast:
        waiting = self._waiting.get(deployment)
        if waiting is None:
            return Forecast(unknown=Unknown.AHEAD)
        if not waiting.eligible:
            return Forecast(unknown=Unknown.NOWHERE)
        if not self._is_complete:
            return Forecast(unknown=Unknown.FAR)
        nodes = [(self._endless(waiting, c), c) for c in waiting.eligible]
        needs, c = min(nodes, key=lambda node: (len(node[0]), node[1]))
        if not needs:  # it fits there, and the plan has another reason to let it wait
            return Forecast(unknown=Unknown.FAR)
        return Forecast(place=self._bins[c].place, needs=needs, unknown=Unknown.ENDLESS)

    def _endless(self, waiting: _Waiting, c: int) -> tuple[int, ...]:
        """Return deployments on a node whose ends are unknown, and of which all have to end."""
        left, needed = self._time.free[waiting.view][c] - waiting.request, []
        endless = [o for o in self._time.endless[c] if o.view <= waiting.view]
        for occupant in sorted(endless, key=lambda o: (-gpus(o.request), -o.request, o.id)):
            if not left & OVERDRAWN:
                break
            left += occupant.request
            needed.append(occupant.id)
        return tuple(needed)


def _segment(waiting: list[_Waiting]) -> _Segment:
    return _Segment(waiting[0].view, waiting, least([each.request for each in waiting]))
