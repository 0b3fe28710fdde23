"""Simulated time: jobs are submitted and end, and a scheduling cycle runs after each change."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy, Threshold
from scheduling.planner.reserved import holders, idle_share
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment, Place, Snapshot
from scheduling.simulation.order import starts_out_of_order
from scheduling.simulation.trace import Job

Decide = Callable[[Snapshot], Plan]

_UNUSED = {"suspension_seconds", "operator_backoff_seconds"}
"""Every job of a replay starts before it ends, and no operator preempts it."""


class Kind(IntEnum):
    """The kind of an event. At one moment, ends come first."""

    END = 0
    READY = 1
    WAKE = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """The policy's thresholds, and how the jobs behave. Times are in seconds.

    `checkpoint_every` is the interval at which jobs save their progress, 0 for never.
    `runtimes_known`: each job states its duration as its `max_runtime_s`.
    """

    policy: Policy = field(default_factory=Policy)
    checkpoint_every: int = 0
    runtimes_known: bool = False

    @staticmethod
    def thresholds() -> list[Threshold]:
        """Return the thresholds that a replay depends on."""
        return [each for each in Policy.thresholds() if each.name not in _UNUSED]


@dataclass(slots=True)
class Life:
    """The history of one job.

    `waited` are seconds in the queue and in back-offs. `worked`, `lost` and `saved` are seconds of
    run time: in total, lost by evictions, and kept by checkpoints. `evictions` are their times.
    """

    job: Job
    waited: int = 0
    worked: int = 0
    lost: int = 0
    saved: int = 0
    finished: int | None = None
    evictions: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sample:
    """The state from this time until the next sample.

    `queue` counts the ready jobs. `idle` is the share of the total capacity, 0 to 1, that
    reservations keep idle.
    """

    time: int
    queue: int
    allocated: Resources
    idle: float


@dataclass(slots=True)
class Replay:
    """The result of a workload under one policy. `rejected` jobs do not fit on any node;
    `out_of_order` starts took capacity that a waiting job of a higher priority would have fit into.
    """

    lives: list[Life]
    samples: list[Sample]
    clusters: tuple[Cluster, ...]
    cycles: int = 0
    rejected: int = 0
    out_of_order: int = 0


def replay(
    jobs: Sequence[Job],
    clusters: tuple[Cluster, ...],
    decide: Decide,
    terms: Terms,
    progress: Callable[[int], None],
) -> Replay:
    """Run all jobs that fit on a cluster to their end; call `progress` with the number of ended."""
    return _World(jobs, clusters, decide, terms).run(progress)


class _World:
    def __init__(
        self, jobs: Sequence[Job], clusters: tuple[Cluster, ...], decide: Decide, terms: Terms
    ) -> None:
        possible = [
            j for j in jobs if any(j.request.fits_in(b.capacity) for c in clusters for b in c.bins)
        ]
        self._decide, self._terms = decide, terms
        self._lives = {job.id: Life(job) for job in possible}
        self._ready: dict[int, Deployment] = {}
        self._active: dict[int, Deployment] = {}
        self._ends: dict[int, int] = {}
        self._allocated = NOTHING
        self._idle = 0.0
        self._since: dict[int, int] = {}
        self._wakes: set[int] = set()
        self._events = [(job.submit, Kind.READY, job.id) for job in possible]
        heapq.heapify(self._events)
        self._replay = Replay(list(self._lives.values()), [], clusters)
        self._replay.rejected = len(jobs) - len(possible)

    def run(self, progress: Callable[[int], None]) -> Replay:
        ended = 0
        while self._events:
            now = self._events[0][0]
            changed = False
            while self._events and self._events[0][0] == now:
                _, kind, number = heapq.heappop(self._events)
                if kind == Kind.READY:
                    self._enter(number, now)
                elif kind == Kind.END:
                    if self._ends.get(number) != now:
                        continue  # It was evicted before this end.
                    self._finish(number, now)
                    ended += 1
                    progress(ended)
                changed = True
            if changed:
                self._idle = self._cycle(now) if self._ready else 0.0
            self._replay.samples.append(Sample(now, len(self._ready), self._allocated, self._idle))
        return self._replay

    def _enter(self, number: int, now: int) -> None:
        """Add a job to the queue. An eviction does not change its place in the queue."""
        life = self._lives[number]
        self._since[number] = now
        self._ready[number] = Deployment(
            number,
            life.job.priority,
            life.job.request,
            life.job.submit,
            max_runtime_s=life.job.duration - life.saved if self._terms.runtimes_known else None,
            recent_preemptions=self._recent_evictions(life, now),
            ready_since=now if life.evictions else None,
        )

    def _recent_evictions(self, life: Life, now: int) -> int:
        window = self._terms.policy.budget_window_seconds
        return sum(time > now - window for time in life.evictions)

    def _finish(self, number: int, now: int) -> None:
        life = self._lives[number]
        life.worked += self._remove(number, now)
        life.finished = now

    def _remove(self, number: int, now: int) -> int:
        """Remove the job from its cluster; return how many seconds it ran."""
        deployment = self._active.pop(number)
        del self._ends[number]
        self._allocated -= deployment.request
        return now - (now if deployment.placed_at is None else deployment.placed_at)

    def _cycle(self, now: int) -> float:
        """Plan, and apply the plan; return the share of the capacity that it keeps idle."""
        self._replay.cycles += 1
        active = [self._with_checkpoint(d, now) for d in self._active.values()]
        rows = (*active, *self._ready.values())
        snapshot = Snapshot(now, self._terms.policy, self._replay.clusters, rows)
        plan = self._decide(snapshot)
        if plan.reserved:
            self._wake_after_turn(plan)
        self._replay.out_of_order += starts_out_of_order(snapshot, plan)
        reserved_for = holders(plan).values()
        for number, d in self._ready.items():
            if d.reserved != (number in reserved_for):
                self._ready[number] = replace(d, reserved=not d.reserved)
        for eviction in plan.evictions:
            self._evict(eviction.deployment, now)
        for move in plan.moves:
            self._evict(move.deployment, now, waits=False)
            self._start(move.deployment, (move.target, move.target_node), now)
        for placement in plan.placements:
            self._start(placement.deployment, (placement.cluster, placement.node), now)
        return idle_share(snapshot.clusters, plan, self._ready, self._active.values())

    def _wake_after_turn(self, plan: Plan) -> None:
        """Plan again when a turn ends, because what was reserved is free then."""
        for turn in plan.turns:
            if turn.now and turn.changes_at not in self._wakes:
                self._wakes.add(turn.changes_at)
                heapq.heappush(self._events, (turn.changes_at, Kind.WAKE, turn.deployment))

    def _with_checkpoint(self, deployment: Deployment, now: int) -> Deployment:
        every = self._terms.checkpoint_every
        if not every or deployment.placed_at is None:
            return deployment
        saved = deployment.placed_at + (now - deployment.placed_at) // every * every
        return replace(deployment, checkpoint_at=saved)

    def _evict(self, number: int, now: int, *, waits: bool = True) -> None:
        life, every = self._lives[number], self._terms.checkpoint_every
        ran = self._remove(number, now)
        kept = ran // every * every if every else 0
        life.worked += ran
        life.saved += kept
        life.lost += ran - kept
        life.evictions.append(now)
        recent = self._recent_evictions(life, now)
        wait = self._terms.policy.backoff(recent) if waits else 0
        if wait:
            life.waited += wait
            heapq.heappush(self._events, (now + wait, Kind.READY, number))
        else:
            self._enter(number, now)

    def _start(self, number: int, place: Place, now: int) -> None:
        life, ready = self._lives[number], self._ready.pop(number)
        life.waited += now - self._since[number]
        self._active[number] = replace(ready, cluster=place[0], node=place[1], placed_at=now)
        self._allocated += ready.request
        end = now + life.job.duration - life.saved
        self._ends[number] = end
        heapq.heappush(self._events, (end, Kind.END, number))
        if self._terms.policy.min_run_seconds:
            protected_until = now + self._terms.policy.min_run_seconds
            heapq.heappush(self._events, (protected_until, Kind.WAKE, number))
