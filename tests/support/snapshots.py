"""Random snapshots with edge cases: exact fits, equal requests, full and closed clusters."""

from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from scheduling.planner.policy import Policy
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot

NOW = 100_000

small = st.builds(Resources, st.integers(0, 4), st.integers(0, 4), st.integers(0, 2))
shapes = st.one_of(
    small, st.sampled_from([Resources(1, 1, 0), Resources(2, 1, 1), Resources(2, 2, 0)])
)
capacities = st.builds(Resources, st.integers(0, 12), st.integers(0, 12), st.integers(0, 4))
states = st.sampled_from([ClusterState.ACTIVE] * 6 + [ClusterState.CORDONED, ClusterState.DRAINING])
policies = st.builds(
    Policy,
    min_run_seconds=st.sampled_from([0, 0, 0, 50]),
    preemption_budget=st.integers(0, 3),
    budget_override_gap=st.sampled_from([1, 2, 50]),
    starvation_seconds=st.sampled_from([0, 100, 10_000]),
    order=st.sampled_from(["most", "most", "fifo"]),
    backfill=st.sampled_from(["ending", "evictable"]),
)


@st.composite
def snapshots(
    draw: st.DrawFn, policy: st.SearchStrategy[Policy] = policies, levels: int = 4
) -> Snapshot:
    """A snapshot whose active deployments fit on their clusters, sometimes exactly."""
    clusters = tuple(
        Cluster(number, draw(capacities), draw(states))
        for number in range(1, draw(st.integers(1, 3)) + 1)
    )
    rows = draw(st.lists(deployments(len(clusters), levels), max_size=14))
    left = {cluster.id: cluster.capacity for cluster in clusters}
    placed = []
    for number, row in enumerate(rows, start=1):
        home = row.cluster
        if home is not None and row.request.fits_in(left[home]):
            left[home] -= row.request
            placed.append(replace(row, id=number))
        else:
            placed.append(replace(row, id=number, cluster=None, placed_at=None))
    if draw(st.booleans()):
        clusters = tuple(replace(c, capacity=c.capacity - left[c.id]) for c in clusters)
    return Snapshot(NOW, draw(policy), clusters, tuple(draw(st.permutations(placed))))


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
        placed_at=NOW - draw(st.sampled_from([0, 49, 50, 1000])) if active else None,
        max_runtime_s=draw(st.sampled_from([None, None, 60, 1100])),
        preemptible=draw(st.integers(1, 6)) != 1,
        recent_preemptions=draw(st.integers(0, 3)),
        ready_since=None if active else draw(st.sampled_from([None, None, NOW - 10, NOW - 1000])),
        suspended_until=draw(st.sampled_from([None, None, None, NOW, NOW + 100])),
        past_victims=tuple(draw(st.sampled_from([[], [], [1], [3, 2], [4, 5, 6]]))),
        preempted_in_vain=draw(st.sampled_from([False, False, False, True])),
    )


def large(deployments: int, clusters: int, policy: Policy, seed: int) -> Snapshot:
    """Return a snapshot of this size, with capacity for a part of the requests.

    It is generated from a seed because hypothesis limits how much data one example may draw.
    """
    random = Random(seed)
    shapes = _shapes(random)
    requests = [random.choice(shapes) for _ in range(deployments)]
    supply = tuple(
        _cluster(random, number, requests, clusters) for number in range(1, clusters + 1)
    )
    left = {cluster.id: cluster.capacity for cluster in supply}
    rows = []
    for number, request in enumerate(requests, start=1):
        home = random.choice([None, *left])
        if home is not None and request.fits_in(left[home]):
            left[home] -= request
        else:
            home = None
        rows.append(_row(random, number, request, home, clusters))
    if random.random() < 0.5:
        supply = tuple(replace(c, capacity=c.capacity - left[c.id]) for c in supply)
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


def _row(
    random: Random, number: int, request: Resources, home: int | None, clusters: int
) -> Deployment:
    ready = home is None
    return Deployment(
        id=number,
        priority=random.randint(1, 5),
        request=request,
        queued_at=NOW - random.choice([0, 100, 101, 5000, 20_000]),
        requested_cluster=random.randint(1, clusters) if random.random() < 0.1 else None,
        cluster=home,
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
