"""Random snapshots with edge cases: exact fits, equal requests, full and closed clusters."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from scheduling.planner.policy import Policy
from scheduling.planner.requirements import preferences, requirements
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Node, Place, Snapshot

NOW = 100_000

small = st.builds(Resources, st.integers(0, 4), st.integers(0, 4), st.integers(0, 2))
shapes = st.one_of(
    small, st.sampled_from([Resources(1, 1, 0), Resources(2, 1, 1), Resources(2, 2, 0)])
)
capacities = st.builds(Resources, st.integers(0, 12), st.integers(0, 12), st.integers(0, 4))
states = st.sampled_from([ClusterState.ACTIVE] * 6 + [ClusterState.CORDONED, ClusterState.DRAINING])
FORMS = [{"zone": ["a"]}, {"zone": {"not": ["a"]}}, {"zone": {"exists": True}}]
labels = st.sampled_from([{}, {"zone": "a"}, {"zone": "b", "spot": "true"}])
policies = st.builds(
    Policy,
    min_run_seconds=st.sampled_from([0, 0, 0, 50]),
    preemption_budget=st.integers(0, 3),
    budget_override_gap=st.sampled_from([1, 2, 50]),
    starvation_seconds=st.sampled_from([0, 100, 10_000]),
    reservation_percent=st.sampled_from([0, 5, 100]),
    order=st.sampled_from(["most", "most", "fifo"]),
    backfill=st.sampled_from(["ending", "evictable"]),
)


@st.composite
def snapshots(
    draw: st.DrawFn, policy: st.SearchStrategy[Policy] = policies, levels: int = 4
) -> Snapshot:
    """A snapshot whose active deployments fit on their nodes, sometimes exactly."""
    clusters = tuple(draw(supply(number)) for number in range(1, draw(st.integers(1, 3)) + 1))
    rows = draw(st.lists(deployments(len(clusters), levels), max_size=14))
    bins = {(c.id, n): bin_ for c in clusters for n, bin_ in enumerate(c.bins)}
    left = {place: bin_.capacity for place, bin_ in bins.items()}
    placed = []
    for number, row in enumerate(rows, start=1):
        place = (row.cluster or 0, (row.node or 0) % len(clusters[(row.cluster or 1) - 1].bins))
        if place in bins and row.request.fits_in(left[place]):
            left[place] -= row.request
            placed.append(replace(row, id=number, node=bins[place].node.id))
        else:
            placed.append(replace(row, id=number, cluster=None, node=None, placed_at=None))
    if draw(st.booleans()):
        free = {bins[place].place: amount for place, amount in left.items()}
        clusters = tuple(without(cluster, free) for cluster in clusters)
    return Snapshot(NOW, draw(policy), clusters, tuple(draw(st.permutations(placed))))


@st.composite
def supply(draw: st.DrawFn, number: int) -> Cluster:
    """A cluster without nodes of its own, or with up to four."""
    state, count = draw(states), draw(st.sampled_from([0, 0, 0, 1, 2, 3, 4]))
    if not count:
        return Cluster(number, draw(capacities), state)
    nodes = tuple(
        Node(10 * number + n, draw(capacities), labels=draw(labels), state=draw(states))
        for n in range(count)
    )
    return Cluster(number, sum((n.capacity for n in nodes), NOTHING), state, nodes=nodes)


def without(cluster: Cluster, free: Mapping[Place, Resources]) -> Cluster:
    """Return the cluster without what is free on each of its nodes."""
    nodes = tuple(
        replace(node, capacity=node.capacity - free[cluster.id, node.id]) for node in cluster.nodes
    )
    amount = sum((free[bin_.place] for bin_ in cluster.bins), NOTHING)
    return replace(cluster, capacity=cluster.capacity - amount, nodes=nodes)


@st.composite
def deployments(draw: st.DrawFn, clusters: int, levels: int) -> Deployment:
    pinned = draw(st.integers(1, 8)) == 1
    active = draw(st.booleans())
    home = draw(st.integers(1, clusters))
    return Deployment(
        id=0,
        priority=draw(st.integers(1, levels)),
        request=draw(shapes),
        queued_at=NOW - draw(st.sampled_from([0, 10, 100, 101, 5000, 20_000])),
        requested_cluster=home if pinned else None,
        cluster=home if active else None,
        node=draw(st.integers(0, 3)) if active else None,
        placed_at=NOW - draw(st.sampled_from([0, 49, 50, 1000])) if active else None,
        max_runtime_s=draw(st.sampled_from([None, None, 60, 1100])),
        preemptible=draw(st.integers(1, 6)) != 1,
        recent_preemptions=draw(st.integers(0, 3)),
        ready_since=None if active else draw(st.sampled_from([None, None, NOW - 10, NOW - 1000])),
        suspended_until=draw(st.sampled_from([None, None, None, NOW, NOW + 100])),
        past_victims=tuple(draw(st.sampled_from([[], [], [1], [3, 2], [4, 5, 6]]))),
        preempted_in_vain=draw(st.sampled_from([False, False, False, True])),
        reserved=not active and draw(st.booleans()),
        require=draw(st.sampled_from([{}, {}, {}, *FORMS]).map(requirements)),
        prefer=draw(st.sampled_from([{}, {}, {}, *FORMS]).map(preferences)),
    )


def large(deployments: int, clusters: int, policy: Policy, seed: int, nodes: int = 1) -> Snapshot:
    """Return a snapshot of this size, with capacity for a part of the requests.

    Each cluster has up to this many nodes, or none of its own if it is 1. The snapshot is generated
    from a seed because hypothesis limits how much data one example may draw.
    """
    random = Random(seed)
    shapes = _shapes(random)
    requests = [random.choice(shapes) for _ in range(deployments)]
    supply = tuple(
        _cluster(random, number, requests, clusters) for number in range(1, clusters + 1)
    )
    if nodes > 1:
        supply = tuple(_split(random, cluster, nodes) for cluster in supply)
    left = {bin_.place: bin_.capacity for cluster in supply for bin_ in cluster.bins}
    rows = []
    for number, request in enumerate(requests, start=1):
        home = random.choice([None, *left])
        if home is not None and request.fits_in(left[home]):
            left[home] -= request
        else:
            home = None
        row = _row(random, number, request, home, clusters)
        rows.append(_demanding(random, row) if nodes > 1 else row)
    if random.random() < 0.5:
        supply = tuple(without(cluster, left) for cluster in supply)
    random.shuffle(rows)
    return Snapshot(NOW, policy, supply, tuple(rows))


def _shapes(random: Random) -> list[Resources]:
    """Return a few requests: small numbers, which fit exactly, or realistic amounts."""
    if random.random() < 0.5:
        return [
            Resources(random.randint(0, 4), random.randint(0, 4), random.randint(0, 2))
            for _ in range(5)
        ]
    return [
        Resources(
            random.randint(500, 16_000), random.randint(512, 65_536), random.choice([0, 1, 2])
        )
        for _ in range(8)
    ]


def _cluster(random: Random, number: int, requests: list[Resources], clusters: int) -> Cluster:
    share = random.uniform(0.2, 1.6) / clusters
    capacity = Resources(
        int(share * sum(r.cpu_milli for r in requests)),
        int(share * sum(r.ram_mib for r in requests)),
        int(share * sum(r.gpu for r in requests)),
    )
    closed = [ClusterState.CORDONED, ClusterState.DRAINING, ClusterState.LOST]
    return Cluster(number, capacity, random.choice([ClusterState.ACTIVE] * 9 + closed))


def _split(random: Random, cluster: Cluster, nodes: int) -> Cluster:
    """Return the cluster divided into nodes of different sizes, in different states."""
    parts = [random.randint(1, 3) for _ in range(random.randint(2, nodes))]
    states = [ClusterState.ACTIVE] * 17 + [*ClusterState]
    amounts = cluster.capacity.to_json().values()
    found = tuple(
        Node(
            number,
            Resources(*(amount * part // sum(parts) for amount in amounts)),
            f"n{number}",
            random.choice([{}, {"zone": "a"}, {"zone": "b"}]),
            random.choice(states),
        )
        for number, part in enumerate(parts, start=1)
    )
    capacity = sum((node.capacity for node in found), NOTHING)
    return replace(cluster, capacity=capacity, nodes=found)


def _demanding(random: Random, row: Deployment) -> Deployment:
    """Return the deployment with labels that it requires and prefers, or none of them."""
    require, prefer = random.choice([{}, {}, *FORMS]), random.choice([{}, {}, *FORMS])
    return replace(row, require=requirements(require), prefer=preferences(prefer))


def _row(
    random: Random, number: int, request: Resources, home: Place | None, clusters: int
) -> Deployment:
    ready = home is None
    return Deployment(
        id=number,
        priority=random.randint(1, 5),
        request=request,
        queued_at=NOW - random.choice([0, 100, 101, 5000, 20_000]),
        requested_cluster=random.randint(1, clusters) if random.random() < 0.1 else None,
        cluster=home[0] if home else None,
        node=home[1] if home else None,
        placed_at=None if ready else NOW - random.choice([0, 49, 50, 1000]),
        max_runtime_s=random.choice([None, 60, 1100]),
        preemptible=random.random() < 0.85,
        recent_preemptions=random.randint(0, 3),
        ready_since=random.choice([None, NOW - 10, NOW - 1000]) if ready else None,
        suspended_until=random.choice([None] * 9 + [NOW + 100]),
        past_victims=tuple(random.sample(range(1, 50), random.choice([0, 0, 1, 3]))),
        preempted_in_vain=random.random() < 0.1,
    )


__all__ = ["NOTHING", "NOW", "deployments", "large", "policies", "snapshots"]
