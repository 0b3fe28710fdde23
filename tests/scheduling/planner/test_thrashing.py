"""In a closed world, in which nobody submits and nothing ends, evictions come to an end (rule 10).

What is left is bounded: deployments that evict others and never start evict each of them once
within the budget's window.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot

_STEP = 60
_STEPS = 600
_UNTIL_LOST = 30  # seconds until a broken deployment loses its place, before it has started
_PAUSE = 90  # seconds that it is then queued without competing
_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Eviction:
    at: int
    victim: int
    preemptor: int


@dataclass
class ClosedWorld:
    """Deployments on a few clusters; containers of `broken` ones never start."""

    clusters: tuple[Cluster, ...]
    rows: dict[int, Deployment]
    broken: frozenset[int] = frozenset()
    now: int = 1_000_000
    evictions: list[Eviction] = field(default_factory=list)
    started: set[tuple[int, int | None]] = field(default_factory=set)
    ready_after: dict[int, int] = field(default_factory=dict)
    suspensions: int = 0

    def step(self) -> None:
        self.now += _STEP
        self._follow()
        plan = make_plan(self._snapshot())
        for suspension in plan.suspensions:
            self.suspensions += 1
            self._change(suspension.deployment, suspended_until=suspension.until)
        pairs = [(e.deployment, e.for_) for e in plan.evictions]
        pairs += [(m.deployment, m.for_) for m in plan.moves]
        self.evictions += [Eviction(self.now, victim, for_) for victim, for_ in pairs if for_]
        for eviction in plan.evictions:
            self._unplace(eviction.deployment, _POLICY.backoff(self._recent(eviction.deployment)))
        for move in plan.moves:
            self._change(move.deployment, cluster=move.target, placed_at=self.now)
        for placement in plan.placements:
            self._change(placement.deployment, cluster=placement.cluster, placed_at=self.now)

    def _follow(self) -> None:
        """Let the containers start, and the broken deployments lose their places."""
        for d in list(self.rows.values()):
            if d.placed_at is not None and d.id not in self.broken:
                self.started.add((d.id, d.placed_at))
            elif d.placed_at is not None and d.placed_at + _UNTIL_LOST <= self.now:
                self._unplace(d.id, _PAUSE)

    def _snapshot(self) -> Snapshot:
        rows = [
            replace(
                d,
                recent_preemptions=self._recent(d.id),
                past_victims=self._in_vain(d.id) if d.cluster is None else (),
            )
            for d in self.rows.values()
            if self.ready_after.get(d.id, self.now) <= self.now
        ]
        return Snapshot(self.now, _POLICY, self.clusters, tuple(rows))

    def _in_vain(self, preemptor: int) -> tuple[int, ...]:
        return tuple(
            e.victim
            for e in self.evictions
            if e.preemptor == preemptor and (preemptor, e.at) not in self.started
        )

    def _recent(self, victim: int) -> int:
        return sum(e.victim == victim for e in self.evictions)

    def _unplace(self, number: int, pause: int) -> None:
        self._change(number, cluster=None, placed_at=None)
        self.ready_after[number] = self.now + pause

    def _change(self, number: int, **values: int | None) -> None:
        self.rows[number] = replace(self.rows[number], **values)  # type: ignore[arg-type]


def closed_world(seed: int, broken: int) -> ClosedWorld:
    """Return a world that is full: about three times as much is requested as there is."""
    random = Random(seed)
    clusters = tuple(
        Cluster(number, Resources(4, 4, 0)) for number in range(1, random.randint(2, 4))
    )
    rows = {
        number: Deployment(
            number,
            random.choice([10, 30, 50, 70, 90]),
            Resources(random.choice([1, 2, 4]), random.choice([1, 2, 4]), 0),
            1_000_000 - random.randint(0, 5_000),
        )
        for number in range(1, random.randint(8, 14))
    }
    by_priority = sorted(rows, key=lambda number: -rows[number].priority)
    world = ClosedWorld(clusters, rows, frozenset(by_priority[:broken]))
    for number in rows:  # each competes from another moment on, so that many preempt
        world.ready_after[number] = world.now + random.randint(1, 20) * _STEP
    return world


@pytest.mark.parametrize("seed", range(12))
def test_in_a_closed_world_evictions_come_to_an_end(seed: int) -> None:
    world = closed_world(seed, broken=0)
    for _ in range(_STEPS // 2):
        world.step()
    evictions = len(world.evictions)
    placed = {d.id: d.cluster for d in world.rows.values()}

    for _ in range(_STEPS // 2):
        world.step()

    assert len(world.evictions) == evictions
    assert {d.id: d.cluster for d in world.rows.values()} == placed
    assert world.suspensions == 0


@pytest.mark.parametrize("seed", range(12))
def test_a_deployment_that_never_starts_evicts_each_other_one_once(seed: int) -> None:
    world = closed_world(seed, broken=4)
    for _ in range(_STEPS):
        world.step()

    pairs = Counter((e.preemptor, e.victim) for e in world.evictions if e.preemptor in world.broken)
    assert set(pairs.values()) <= {1}
    assert len(world.evictions) <= len(world.rows) ** 2


def test_the_worlds_have_evictions_and_suspensions() -> None:
    """Otherwise the laws above would say nothing."""
    worlds = [closed_world(seed, broken=2) for seed in range(12)]
    for world in worlds:
        for _ in range(60):
            world.step()
    assert sum(len(world.evictions) for world in worlds) > 20
    assert sum(world.suspensions for world in worlds) > 5
