"""The victims of one preemptor on full nodes, compared with an exhaustive search."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations
from random import Random
from typing import Any

from benchmarks.rules import total
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment, Node, Snapshot

NOW = 1_000_000


@dataclass
class Tally:
    """Sums over all cases in which the preemptor starts and needs a victim."""

    cases: int = 0
    needless: int = 0
    same: int = 0
    victims: int = 0
    best_victims: int = 0
    lost: int = 0
    best_lost: int = 0
    claimed: int = 0
    wrongly_claimed: int = 0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=1, help="nodes of the cluster (1)")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    tally = measure(options["cases"], options["seed"], options["nodes"])
    out(f"cases with victims       {tally.cases}")
    out(f"with a needless victim   {tally.needless}")
    out(f"same harm as the best    {100 * tally.same / tally.cases:.2f}%")
    out(f"victims                  {tally.victims / tally.best_victims:.4f} times the best")
    out(f"work lost                {tally.lost / tally.best_lost:.4f} times the best")
    out(f"claimed to be minimal    {tally.claimed}, wrongly {tally.wrongly_claimed}")


def measure(cases: int, seed: int, nodes: int) -> Tally:
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    tally = Tally()
    for _ in range(cases):
        _add(tally, full_cluster(random, nodes))
    return tally


def full_cluster(random: Random, nodes: int) -> Snapshot:
    """Return one cluster of full nodes and a preemptor.

    Each node has up to ten active deployments of three levels, and the preemptor fits on one of the
    nodes if it is empty.
    """
    machines, rows = [], []
    for n in range(1, nodes + 1):
        capacity = Resources(random.randint(8, 40), random.randint(8, 40), random.randint(0, 8))
        machines.append(Node(n, capacity))
        left = capacity
        for number in range(100 * n + 1, 100 * n + random.randint(3, 10) + 1):
            request = Resources(
                random.randint(1, 10), random.randint(1, 10), random.choice([0, 0, 1, 1, 2])
            )
            if request.fits_in(left):
                left -= request
                started = NOW - random.randint(0, 10_000)
                priority = random.randint(1, 3)
                rows.append(
                    Deployment(number, priority, request, 0, cluster=1, node=n, placed_at=started)
                )
    largest = machines[-1].capacity
    request = Resources(
        random.randint(1, largest.cpu_milli),
        random.randint(1, largest.ram_mib),
        random.randint(0, largest.gpu),
    )
    rows.append(Deployment(1, random.randint(2, 4), request, NOW))
    cluster = Cluster(1, sum((node.capacity for node in machines), NOTHING), nodes=tuple(machines))
    return Snapshot(NOW, Policy(starvation_seconds=10**9), (cluster,), tuple(rows))


def harm(snapshot: Snapshot, victims: tuple[Deployment, ...]) -> tuple[int, int, int]:
    """Return the harm in the order of rule 8: highest priority, number, lost work."""
    capacity = snapshot.clusters[0].capacity
    weights = (
        capacity.ram_mib * max(capacity.gpu, 1),
        capacity.cpu_milli * max(capacity.gpu, 1),
        capacity.cpu_milli * capacity.ram_mib,
    )
    lost = 0
    for v in victims:
        share = max(
            v.request.cpu_milli * weights[0],
            v.request.ram_mib * weights[1],
            v.request.gpu * weights[2],
        )
        lost += share * (NOW - (v.placed_at or NOW))
    return max((v.priority for v in victims), default=0), len(victims), lost


def allowed_sets(snapshot: Snapshot, node: Node) -> Iterator[tuple[Deployment, ...]]:
    """Yield every set of victims on the node without which the preemptor fits there and that rule 3
    allows.
    """
    *rows, preemptor = snapshot.deployments
    active = [d for d in rows if d.node == node.id]
    lower = [d for d in active if d.priority < preemptor.priority]
    for victims in chain.from_iterable(combinations(lower, n) for n in range(len(lower) + 1)):
        stay = [d for d in active if d not in victims]
        if total([preemptor, *stay]).fits_in(node.capacity) and all(
            not total([preemptor, v, *(d for d in stay if d.priority >= v.priority)]).fits_in(
                node.capacity
            )
            for v in victims
        ):
            yield victims


def _add(tally: Tally, snapshot: Snapshot) -> None:
    """Count the case if the preemptor needs a victim, and none of them moves or evicts another."""
    nodes = {node.id: node for node in snapshot.clusters[0].nodes}
    sets = (victims for node in nodes.values() for victims in allowed_sets(snapshot, node))
    best = min((harm(snapshot, victims) for victims in sets), default=None)
    plan = make_plan(snapshot)
    if best is None or not plan.evictions or plan.moves:
        return
    evicted = {eviction.deployment for eviction in plan.evictions}
    victims = tuple(d for d in snapshot.deployments if d.id in evicted)
    actual = harm(snapshot, victims)
    tally.cases += 1
    tally.same += actual == best
    tally.victims += actual[1]
    tally.best_victims += best[1]
    tally.lost += actual[2]
    tally.best_lost += best[2]
    [preemptor] = plan.placements
    there = [d for d in snapshot.deployments if d.node == preemptor.node and d not in victims]
    remaining = total([*there, snapshot.deployments[-1]])
    capacity = nodes[preemptor.node].capacity
    tally.needless += any((remaining + v.request).fits_in(capacity) for v in victims)
    claimed = all(eviction.proved_minimal for eviction in plan.evictions)
    tally.claimed += claimed
    tally.wrongly_claimed += claimed and actual != best
