"""Explain why no node of a cluster could run a deployment, even if all its capacity were free."""

from collections import Counter
from collections.abc import Sequence

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Problem
from scheduling.planner.resources import Resources, in_words
from scheduling.planner.snapshot import Bin, ClusterState

Obstacle = tuple[str, str]
"""A code and what it means, as a clause without a full stop."""

OVERCOMMITTED = "overcommitted", "more is allocated there than the cluster has"
_USELESS = "exceeds_capacity", "no_matching_node"
_STATES = {
    ClusterState.CORDONED: "cordoned",
    ClusterState.DRAINING: "draining",
    ClusterState.LOST: "out of contact",
}
_STATES_OF_CLUSTERS = {
    **_STATES, ClusterState.LOST: "out of contact or its engine is unclaimed",
}  # fmt: skip

_CLOSED = {
    ClusterState.ACTIVE: "overcommitted",
    ClusterState.CORDONED: "cordoned",
    ClusterState.DRAINING: "draining",
    ClusterState.LOST: "out of contact or unclaimed",
}
_LISTED = 4  # closed nodes of a cluster that its row names
_NAMED = 8  # closed clusters or nodes that a sentence names


def not_eligible(problem: Problem, d: int) -> tuple[str, str]:
    """Return a code and a sentence about why no node is eligible for d."""
    deployment, request = problem.deployments[d], problem.deployments[d].request.positive
    wanted = deployment.requested_cluster
    among = [
        nodes for nodes in problem.clusters if wanted in (None, problem.bins[nodes[0]].cluster.id)
    ]
    if not among:
        if wanted is None:
            return "no_cluster", f"Needs {request}, but the organization has no cluster."
        return "requested_cluster_gone", f"Requests cluster {wanted}, which does not exist."
    found = [obstacle(problem, d, nodes) or OVERCOMMITTED for nodes in among]
    codes = {code for code, _ in found}
    for useless in _USELESS:
        codes = codes - {useless} or codes
    code = min(codes)
    if code == "exceeds_capacity":
        return code, f"Needs {request}, which exceeds the capacity of {_all_of(problem, among)}."
    if code == "no_matching_node":
        which = f"Needs {request} on a node where {' and '.join(map(str, deployment.require))}"
        return code, f"{which}, but no node that is large enough satisfies this."
    useful = [nodes for nodes, (each, _) in zip(among, found, strict=True) if each not in _USELESS]
    return code, f"Needs {request}, but {_all_closed(problem, d, useful)}."


def _all_closed(problem: Problem, d: int, useful: Sequence[range]) -> str:
    """Return a clause about clusters or nodes that could run d, but are all closed."""
    places = [bin_ for nodes in useful for bin_ in closed(problem, d, nodes)]
    wholes = [bin_.closed_as_a_whole for bin_ in places]
    unit = "clusters" if all(wholes) else "clusters and nodes" if any(wholes) else "nodes"
    states = {bin_.state for bin_ in places}
    why = _CLOSED[states.pop()] if len(states) == 1 else "closed to new deployments"
    labels = [
        bin_.cluster.label if whole else bin_.label
        for bin_, whole in zip(places, wholes, strict=True)
    ]
    more = f" and {len(labels) - _NAMED:,} more" if len(labels) > _NAMED else ""
    return f"the {unit} that could run it are {why}: {', '.join(labels[:_NAMED])}{more}"


def _all_of(problem: Problem, among: Sequence[range]) -> str:
    """Return what the clusters are called together."""
    nodes = sum(map(len, among))
    if nodes > len(among):
        return f"any of the {nodes:,} nodes"
    if nodes > 1:
        return f"any of the {nodes:,} clusters"
    return problem.bins[among[0][0]].label


def obstacle(problem: Problem, d: int, nodes: range) -> Obstacle | None:
    """Return why d cannot run on any of these nodes, which are those of one cluster.

    None if some are eligible, or would be if less were allocated there than they have.
    """
    cluster = problem.bins[nodes[0]].cluster
    if problem.deployments[d].requested_cluster not in (None, cluster.id):
        return "other_cluster", "the deployment requests another cluster"
    large = [c for c in nodes if not (problem.capacities[c] - problem.requests[d]) & OVERDRAWN]
    if not large:
        return "exceeds_capacity", _too_small(problem, d, nodes)
    admitted = set(problem.admitted[d])
    matching = [problem.bins[c] for c in large if c in admitted]
    if not matching:
        return "no_matching_node", _mismatch(problem, d, large, len(nodes))
    if any(bin_.state == ClusterState.ACTIVE for bin_ in matching):
        return None
    return _closed(matching)


def closed(problem: Problem, d: int, nodes: range) -> list[Bin]:
    """Return the closed nodes of a cluster that could run d; only one if all of it is closed."""
    large = (c for c in problem.admitted[d] if c in nodes)
    found = [
        problem.bins[c] for c in large
        if not (problem.capacities[c] - problem.requests[d]) & OVERDRAWN
    ]  # fmt: skip
    return found[:1] if found[0].closed_as_a_whole else found


def failing(problem: Problem, d: int, nodes: range | list[int]) -> str:
    """Return how many of the nodes fail which requirement of d; empty if all satisfy them."""
    fails = Counter(
        str(requirement)
        for c in nodes
        for requirement in problem.deployments[d].require
        if not requirement.holds(problem.bins[c].node.labels)
    )
    return ", ".join(
        f"{count:,} {'does' if count == 1 else 'do'} not satisfy {requirement}"
        for requirement, count in sorted(fails.items())
    )


def missing_from_largest(problem: Problem, d: int, nodes: range) -> dict[str, int]:
    """Return what the node with the largest capacity for d lacks; empty when d fits."""
    request = problem.deployments[d].request
    largest = min(nodes, key=lambda c: (shortage(request, problem.bins[c].capacity), c))
    return request.missing_from(problem.bins[largest].capacity)


def shortage(request: Resources, free: Resources) -> int:
    """Return the largest share of the request that is missing, in millionths; negative if none."""
    return max(
        (wanted - there) * 10**6 // max(wanted, 1)
        for wanted, there in (
            (request.cpu_milli, free.cpu_milli),
            (request.ram_mib, free.ram_mib),
            (request.gpu, free.gpu),
        )
    )


def _too_small(problem: Problem, d: int, nodes: range) -> str:
    missing = in_words(missing_from_largest(problem, d, nodes))
    if len(nodes) == 1:
        return f"the cluster is too small by {missing}"
    return f"the largest of its {len(nodes):,} nodes is too small by {missing}"


def _mismatch(problem: Problem, d: int, large: list[int], number: int) -> str:
    if number == 1:
        labels = problem.bins[large[0]].node.labels
        unmet = [r for r in problem.deployments[d].require if not r.holds(labels)]
        return f"its node does not satisfy {', '.join(map(str, unmet))}"
    return f"of its {number:,} nodes, {len(large):,} are large enough: {failing(problem, d, large)}"


def _closed(matching: list[Bin]) -> Obstacle:
    """Return the state of nodes that could run a deployment but are all closed."""
    if matching[0].closed_as_a_whole:
        state = matching[0].state
        return f"cluster_{state}", f"the cluster is {_STATES_OF_CLUSTERS[state]}"
    states = list(dict.fromkeys(bin_.state for bin_ in matching))
    names = ", ".join(f"{bin_.node.label} is {_STATES[bin_.state]}" for bin_ in matching[:_LISTED])
    more = f", and {len(matching) - _LISTED:,} more" if len(matching) > _LISTED else ""
    return f"cluster_{states[0]}", f"the nodes that could run it are closed: {names}{more}"
