"""Random worlds that are small and tight, and combine what the rules distinguish.

Requests are small numbers, so that they often fit exactly, and the priorities lie on both sides of
the gap that overrides a spent budget.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from scheduling.planner.policy import Policy
from scheduling.planner.requirements import Operator, Requirement
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Node, Snapshot

NOW = 900 << 10
"""With the default threshold, a turn of each length begins at this moment."""

_PRIORITIES = (1, 4, 10, 30, 40, 55, 60, 100)
_CLOSED = (ClusterState.CORDONED, ClusterState.DRAINING, ClusterState.LOST)


def worlds(count: int, seed: int, start: int = 0) -> Iterator[tuple[int, Snapshot]]:
    """Yield the worlds of a seed, from number `start` on, each with its number."""
    for number in range(start, start + count):
        yield number, world(seed, number)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the worlds of one kind have in common; the choices are drawn from these.

    `free` is the capacity that a cluster has beside its active deployments, as a multiple of the
    largest request; `spent` is the share of active deployments whose budget is spent.
    """

    clusters: tuple[int, ...]
    active: tuple[int, ...]
    ready: tuple[int, ...]
    levels: tuple[int, ...]
    shapes: tuple[int, ...]
    free: tuple[float, ...]
    spent: float


_KINDS = (
    # Full clusters: most deployments that start need a victim.
    _Kind((1, 1, 2, 2, 3), (1, 2, 2, 3), (1, 2, 3, 4, 5), (2, 3, 4), (8,), (0, 0, 0, 0.3), 0.3),
    # Spared deployments among others, of which each may be evicted for other preemptors.
    _Kind((1, 1, 2), (2, 3, 4), (2, 3, 4), (4, 5, 6), (3, 4), (0, 0, 0.3), 0.5),
    # Clusters with free capacity, and requests of a few sizes that are hard to divide among them.
    _Kind((2, 3, 3), (0, 1, 1), (4, 5, 6, 7, 8), (1, 2, 2), (3, 4, 5), (0.5, 1, 1.5), 0.1),
)


def world(seed: int, number: int) -> Snapshot:
    """Return a snapshot of one to three clusters and at most 17 deployments."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - reproducible, not secret
    kind = random.choice(_KINDS)
    policy = Policy() if random.random() < 0.6 else _policy(random)
    largest = random.choice([(5, 0, 0), (0, 3, 0), (3, 3, 0), (2, 3, 1), (4, 4, 2)])
    shapes = [_request(random, largest) for _ in range(random.choice(kind.shapes))]
    priorities = random.sample(_PRIORITIES, random.choice(kind.levels))
    ids = iter(random.sample(range(1, 40), 20))
    clusters: list[Cluster] = []
    rows: list[Deployment] = []
    for c in range(1, random.choice(kind.clusters) + 1):
        members = [
            _active(random, next(ids), random.choice(priorities), random.choice(shapes), c, kind)
            for _ in range(random.choice(kind.active))
        ]
        rows += members
        free = Resources(*[round(most * random.choice(kind.free)) for most in largest])
        clusters.append(_cluster(random, c, sum((d.request for d in members), free)))
    for _ in range(random.choice(kind.ready)):
        rows.append(_ready(random, next(ids), random.choice(priorities), random.choice(shapes)))
    pinned = tuple(_pin(random, d, clusters) for d in rows)
    if random.random() < 0.3:
        return _on_nodes(random, Snapshot(NOW, policy, tuple(clusters), pinned))
    return Snapshot(NOW, policy, tuple(clusters), pinned)


def _on_nodes(random: Random, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with its clusters as the nodes of one, each with a label."""
    nodes = tuple(
        Node(c.id, c.capacity, labels={"zone": random.choice("ab")}, state=c.state)
        for c in snapshot.clusters
    )
    capacity = sum((node.capacity for node in nodes), NOTHING)
    zones = [Requirement("zone", Operator.IN, (zone,)) for zone in "ab"]
    rows = [
        replace(
            d,
            requested_cluster=d.requested_cluster and 1,
            cluster=d.cluster and 1,
            node=d.cluster,
            require=(random.choice(zones),) if random.random() < 0.2 else (),
        )
        for d in snapshot.deployments
    ]
    return replace(snapshot, clusters=(Cluster(1, capacity, nodes=nodes),), deployments=tuple(rows))


def _pin(random: Random, d: Deployment, clusters: list[Cluster]) -> Deployment:
    pinned = d.cluster or random.choice(clusters).id
    return replace(d, requested_cluster=pinned) if random.random() < 0.05 else d


def _policy(random: Random) -> Policy:
    return Policy(
        order=random.choice(["most", "most", "fifo"]),
        min_run_seconds=random.choice([0, 0, 60]),
        preemption_budget=random.randint(0, 3),
        budget_override_gap=random.choice([1, 5, 20, 50]),
        starvation_seconds=random.choice([0, 900, 10**6]),
        reservation_percent=random.choice([0, 10, 100]),
        backfill=random.choice(["ending", "evictable"]),
    )


def _request(random: Random, largest: tuple[int, int, int]) -> Resources:
    return Resources(*[random.randint(0, most) for most in largest])


def _cluster(random: Random, number: int, capacity: Resources) -> Cluster:
    if random.random() < 0.05:
        capacity = Resources(capacity.cpu_milli // 2, capacity.ram_mib // 2, capacity.gpu // 2)
    state = random.choice(_CLOSED) if random.random() < 0.12 else ClusterState.ACTIVE
    return Cluster(number, capacity, state)


def _active(
    random: Random, number: int, priority: int, request: Resources, home: int, kind: _Kind
) -> Deployment:
    ran = random.choice([7, 59, 100, 100, 5_000])
    return Deployment(
        number,
        priority,
        request,
        NOW - random.choice([ran, 20_000]),
        cluster=home,
        placed_at=NOW - ran,
        max_runtime_s=random.choice([None, None, 6_000]),
        preemptible=random.random() < 0.9,
        recent_preemptions=random.choice([3, 4] if random.random() < kind.spent else [0, 0, 1]),
        checkpoint_at=NOW - random.randint(0, ran) if random.random() < 0.2 else None,
    )


def _ready(random: Random, number: int, priority: int, request: Resources) -> Deployment:
    has_a_past = random.random() < 0.08
    return Deployment(
        number,
        priority,
        request,
        NOW - random.choice([0, 10, 10, 100, 500, 800, 1_000, 5_000]),
        max_runtime_s=random.choice([None, None, 500, 900]),
        preemptible=random.random() < 0.95,
        recent_preemptions=random.choice([0, 0, 0, 2, 3]),
        ready_since=NOW - random.choice([0, 10, 1_000]) if random.random() < 0.2 else None,
        suspended_until=NOW + 100 if random.random() < 0.06 else None,
        past_victims=tuple(random.sample(range(1, 40), 8)) if has_a_past else (),
        preempted_in_vain=random.random() < 0.05,
        reserved=number % 3 == 0,
    )
