"""Clusters of several nodes: the rules hold on each node, and sentences name it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy
from scheduling.planner.requirements import preferences, requirements
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Node, Snapshot
from tests.support.planner_cases import (
    NOW,
    active,
    cluster,
    evicted,
    moved,
    placed,
    plan,
    ready,
    wait_codes,
)
from tests.support.snapshots import large, policies

A100, H100 = {"gpu.model": "a100"}, {"gpu.model": "h100"}


def node(number: int, gpu: int, **more: object) -> Node:
    return Node(number, Resources(gpu * 4_000, gpu * 8_192, gpu), f"n{number}", **more)  # type: ignore[arg-type]


def rack(*nodes: Node, number: int = 1, state: ClusterState = ClusterState.ACTIVE) -> Cluster:
    capacity = sum((n.capacity for n in nodes), NOTHING)
    return Cluster(number, capacity, state, f"rack-{number}", nodes)


def places(made: Plan) -> dict[int, tuple[int, int]]:
    return {p.deployment: (p.cluster, p.node) for p in made.placements}


def moves(made: Plan) -> dict[int, tuple[int, int]]:
    return {m.deployment: (m.node, m.target_node) for m in made.moves}


def reason(made: Plan, deployment: int) -> str:
    return next(w.reason for w in made.wait_reasons if w.deployment == deployment)


# -- capacity, eligibility --


def test_a_request_that_fits_the_sum_but_no_node_evicts_nothing() -> None:
    made = plan(rack(node(1, 4), node(2, 4)), active(1, 1, 4, node=1), ready(2, 9, 5))
    assert made.changes_nothing
    assert wait_codes(made) == {2: "exceeds_capacity"}
    assert reason(made, 2) == (
        "Needs 20 CPU, 40 GiB RAM, 5 GPU, which exceeds the capacity of any of the 2 nodes."
    )


def test_the_victims_of_a_preemptor_are_on_one_node() -> None:
    ones = [active(n, 1, 1, node=1 + n % 2, ran=100 * n) for n in (1, 2, 3, 4)]
    made = plan(rack(node(1, 2), node(2, 2)), *ones, ready(5, 9, 2))
    assert evicted(made) == {1: 5, 3: 5}
    assert {e.node for e in made.evictions} == {2}
    assert places(made) == {5: (1, 2)}


def test_a_placement_takes_the_node_that_it_fills() -> None:
    made = plan(rack(node(1, 8), node(2, 2), node(3, 4)), ready(1, 5, 2))
    assert places(made) == {1: (1, 2)}


def test_a_deployment_runs_only_where_its_requirement_holds() -> None:
    nodes = rack(node(1, 2, labels=A100), node(2, 4, labels=H100))
    on_h100 = requirements({"gpu.model": ["h100"]})
    made = plan(nodes, ready(1, 5, 1, require=on_h100), ready(2, 5, 1))
    assert places(made) == {1: (1, 2), 2: (1, 1)}


def test_no_deployment_is_evicted_from_a_node_that_the_preemptor_may_not_use() -> None:
    nodes = rack(node(1, 1, labels=A100), node(2, 1, labels=H100))
    longer, shorter = active(1, 1, 1, node=2, ran=900), active(2, 1, 1, node=1)
    on_h100 = requirements({"gpu.model": ["h100"]})
    made = plan(nodes, longer, shorter, ready(3, 9, 1, require=on_h100))
    assert evicted(made) == {1: 3}


def test_a_requirement_that_no_node_satisfies_is_the_wait_reason() -> None:
    made = plan(
        rack(node(1, 2, labels=A100), node(2, 4)),
        ready(1, 5, 1, require=requirements({"gpu.model": ["h100", "b200"]})),
    )
    assert wait_codes(made) == {1: "no_matching_node"}
    assert reason(made, 1) == (
        "Needs 4 CPU, 8 GiB RAM, 1 GPU on a node where gpu.model is h100 or b200, but no node that"
        " is large enough satisfies this."
    )
    [row] = made.wait_reasons[0].detail["clusters"]
    why = "of its 2 nodes, 2 are large enough: 2 do not satisfy gpu.model is h100 or b200"
    assert row["why"] == why


# -- preferences --


def test_a_preference_decides_among_nodes_that_are_equally_good() -> None:
    nodes = rack(node(1, 2, labels=A100), node(2, 4, labels=H100), node(3, 8))
    prefer = preferences({"gpu.model": ["h100"]})
    assert places(plan(nodes, ready(1, 5, 1))) == {1: (1, 1)}
    assert places(plan(nodes, ready(1, 5, 1, prefer=prefer))) == {1: (1, 2)}


def test_the_larger_weight_is_preferred() -> None:
    nodes = rack(node(1, 2, labels={"zone": "a"}), node(2, 4, labels=H100))
    prefer = preferences({"zone": ["a"], "gpu.model": {"in": ["h100"], "weight": 2}})
    assert places(plan(nodes, ready(1, 5, 1, prefer=prefer))) == {1: (1, 2)}


def test_a_preference_gives_no_place_that_another_deployment_needs() -> None:
    nodes = rack(node(1, 1, labels=A100), node(2, 2, labels=H100))
    prefer = preferences({"gpu.model": ["h100"]})
    made = plan(nodes, ready(1, 5, 1, prefer=prefer), ready(2, 5, 2))
    assert places(made) == {1: (1, 1), 2: (1, 2)}


def test_a_preference_evicts_and_moves_nothing() -> None:
    nodes = rack(node(1, 2, labels=A100), node(2, 1, labels=H100))
    prefer = preferences({"gpu.model": ["h100"]})
    made = plan(nodes, active(1, 1, 1, node=2), ready(2, 9, 1, prefer=prefer))
    assert places(made) == {2: (1, 1)}
    assert (made.evictions, made.moves) == ((), ())


def test_an_active_deployment_stays_whatever_it_prefers() -> None:
    nodes = rack(node(1, 1, labels=A100), node(2, 1, labels=H100))
    prefer = preferences({"gpu.model": ["h100"]})
    assert plan(nodes, active(1, 1, 1, node=1, prefer=prefer)).changes_nothing


def test_a_preference_that_cannot_be_satisfied_does_not_prevent_another_one() -> None:
    nodes = rack(node(1, 3, labels=A100), node(2, 1, labels=H100))
    prefer = preferences({"gpu.model": ["h100"]})
    made = plan(nodes, *(ready(n, 5, 1, prefer=prefer) for n in (1, 2, 3)))
    assert sorted(places(made).values()) == [(1, 1), (1, 1), (1, 2)]


# -- states --


def test_a_cordoned_node_keeps_its_deployments_and_takes_no_others() -> None:
    nodes = rack(node(1, 2, state=ClusterState.CORDONED), node(2, 1))
    made = plan(nodes, active(1, 1, 1, node=1), ready(2, 9, 1), ready(3, 9, 2))
    assert places(made) == {2: (1, 2)}
    assert made.evictions == ()
    assert wait_codes(made) == {3: "cluster_cordoned"}
    assert reason(made, 3).endswith(
        "2 GPU, but the nodes that could run it are cordoned: n1 of rack-1."
    )
    [row] = made.wait_reasons[0].detail["clusters"]
    assert row["why"] == "the nodes that could run it are closed: n1 is cordoned"


def test_closed_nodes_and_clusters_are_named_together() -> None:
    draining = ClusterState.DRAINING
    nodes = rack(node(1, 2, state=ClusterState.CORDONED), node(2, 1), node(3, 4, state=draining))
    whole = rack(node(4, 2), node(5, 2), number=2, state=draining)
    assert reason(plan(nodes, whole, ready(1, 9, 2)), 1).endswith(
        "but the clusters and nodes that could run it are closed to new deployments:"
        " n1 of rack-1, n3 of rack-1, rack-2."
    )
    assert reason(plan(whole, ready(1, 9, 2)), 1).endswith(
        "but the clusters that could run it are draining: rack-2."
    )


def test_a_drained_node_moves_what_fits_on_another_node_and_evicts_the_rest() -> None:
    nodes = rack(node(1, 4, state=ClusterState.DRAINING), node(2, 2))
    made = plan(nodes, active(1, 5, 2, node=1), active(2, 1, 2, node=1))
    assert moves(made) == {1: (1, 2)}
    assert evicted(made) == {2: None}
    [eviction], [move] = made.evictions, made.moves
    assert eviction.reason == "n1 of rack-1 is draining, and no other node can run it."
    assert move.reason == "Moved from n1 of rack-1 to n2 of rack-1: n1 of rack-1 is draining."


@pytest.mark.parametrize("state", [ClusterState.CORDONED, ClusterState.LOST])
def test_a_closed_cluster_closes_its_nodes(state: ClusterState) -> None:
    made = plan(rack(node(1, 2), node(2, 2), state=state), active(1, 1, 1, node=2), ready(2, 9, 1))
    assert made.changes_nothing
    assert wait_codes(made) == {2: f"cluster_{state}"}


# -- moves within a cluster --


def test_a_victim_moves_to_another_node_of_its_cluster() -> None:
    made = plan(rack(node(1, 2), node(2, 1)), active(1, 1, 1, node=1), ready(2, 9, 2))
    assert moves(made) == {1: (1, 2)}
    assert places(made) == {2: (1, 1)}
    assert made.moves[0].reason == (
        "Moved from n1 of rack-1 to n2 of rack-1: preempted for deployment 2 of priority 9, which"
        " needs 8 CPU, 16 GiB RAM, 2 GPU."
    )


def test_a_deployment_that_requests_a_cluster_may_move_within_it() -> None:
    nodes = rack(node(1, 2), node(2, 1))
    made = plan(nodes, active(1, 1, 1, node=1, requested_cluster=1), ready(2, 9, 2))
    assert moves(made) == {1: (1, 2)}


# -- reservations --


def test_a_reservation_is_on_one_node() -> None:
    nodes = rack(node(1, 2), node(2, 3))
    running = active(1, 5, 2, node=1), active(2, 5, 2, node=2)
    made = plan(nodes, *running, ready(3, 5, 3, waited=1_000), ready(4, 5, 1), ready(5, 5, 1))
    assert wait_codes(made)[3] == "reserved"
    reservation = made.wait_reasons[0].detail["reservation"]
    assert reservation == {"cluster": 1, "node": 2, "until": None}
    assert reason(made, 3) == (
        "Needs 12 CPU, 24 GiB RAM, 3 GPU. It has waited long, so capacity on n2 of rack-1 is"
        " reserved for it."
    )
    assert wait_codes(made)[4] == "reserved_for_other"


# -- wait reasons --


def test_scattered_capacity_is_the_wait_reason() -> None:
    nodes = rack(node(1, 4), node(2, 4))
    made = plan(nodes, active(1, 5, 2, node=1), active(2, 5, 2, node=2), ready(3, 5, 3))
    assert wait_codes(made) == {3: "scattered"}
    assert reason(made, 3) == (
        "Needs 12 CPU, 24 GiB RAM, 3 GPU at priority 5. 16 CPU, 32 GiB RAM, 4 GPU are free for it"
        " on rack-1, but no node has 12 CPU, 24 GiB RAM, 3 GPU: the largest free block is 8 CPU,"
        " 16 GiB RAM, 2 GPU; moving deployment 1 from n1 to n2 would make one."
    )
    detail = made.wait_reasons[0].detail
    [row] = detail["clusters"]
    assert row["code"] == "scattered"
    assert (row["free"]["gpu"], row["largest"]["gpu"]) == (4, 2)
    assert detail["move"] == {"deployment": 1, "source": 1, "target": 2}


def test_no_move_is_named_if_the_deployment_fits_nowhere_else() -> None:
    nodes = rack(node(1, 4), node(2, 4))
    made = plan(nodes, active(1, 5, 3, node=1), active(2, 5, 3, node=2), ready(3, 5, 2))
    assert wait_codes(made) == {3: "scattered"}
    assert reason(made, 3).endswith("the largest free block is 4 CPU, 8 GiB RAM, 1 GPU.")
    assert "move" not in made.wait_reasons[0].detail


def test_the_largest_free_block_is_the_largest_and_not_that_of_the_closest_node() -> None:
    nodes = rack(node(1, 16), node(2, 4))
    made = plan(nodes, active(1, 5, 14, node=1), active(2, 5, 1, node=2), ready(3, 5, 4))
    assert "the largest free block is 12 CPU, 24 GiB RAM, 3 GPU;" in reason(made, 3)
    [row] = made.wait_reasons[0].detail["clusters"]
    assert row["largest"]["gpu"] == 3
    assert row["nodes"][0]["name"] == "n1"


def test_a_wait_reason_names_the_closest_node_and_lists_the_others() -> None:
    nodes = rack(node(1, 2), node(2, 4))
    made = plan(nodes, active(1, 9, 2, node=1), active(2, 9, 3, node=2), ready(3, 5, 2))
    assert reason(made, 3) == (
        "Needs 8 CPU, 16 GiB RAM, 2 GPU at priority 5. None of the 2 nodes that could run it has"
        " enough free capacity; the closest, n2 of rack-1, is short of 4 CPU, 8 GiB RAM, 1 GPU."
    )
    [row] = made.wait_reasons[0].detail["clusters"]
    assert row["code"] == "no_free_capacity"
    assert [found["name"] for found in row["nodes"]] == ["n2", "n1"]
    assert row["nodes"][1]["missing"] == {"cpu_milli": 8_000, "ram_mib": 16_384, "gpu": 2}


def test_a_cluster_of_one_node_is_called_by_the_name_of_the_cluster() -> None:
    made = plan(rack(node(7, 2)), ready(1, 5, 1))
    assert made.placements[0].reason == (
        "Needs 4 CPU, 8 GiB RAM, 1 GPU; placed on rack-1 in free capacity."
    )
    assert places(made) == {1: (1, 7)}


# -- snapshots --


def test_a_cluster_without_nodes_is_one_node_with_its_id() -> None:
    made = plan(cluster(3, 2), active(1, 5, 1, on=3), ready(2, 5, 1))
    assert places(made) == {2: (3, 3)}


def snapshot(*deployments: Deployment, nodes: tuple[Node, ...]) -> Snapshot:
    return Snapshot(NOW, Policy(), (rack(*nodes),), deployments)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (active(1, 5, 1), "deployment 1: node is missing, and cluster 1 has several"),
        (active(1, 5, 1, node=9), "deployment 1: node 9 is not in cluster 1"),
    ],
)
def test_an_active_deployment_names_a_node_of_its_cluster(row: Deployment, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        snapshot(row, nodes=(node(1, 2), node(2, 2)))


def test_the_capacity_of_a_cluster_is_the_sum_of_its_nodes() -> None:
    with pytest.raises(ValueError, match=r"cluster 1: its capacity is .*, but that of its"):
        Snapshot(NOW, Policy(), (Cluster(1, NOTHING, nodes=(node(1, 2),)),), ())


def document() -> dict[str, object]:
    rows = [
        {"id": n, "cpu_milli": 8_000, "ram_mib": 8_192, "gpu": 2, "labels": {"zone": zone}}
        for n, zone in ((1, "a"), (2, "b"))
    ]
    deployment = {
        "id": 1, "priority": 5, "cpu_milli": 1_000, "ram_mib": 1_024, "gpu": 1, "queued_at": 0,
        "require": {"zone": ["b"]},
    }  # fmt: skip
    clusters = [{"id": 1, "nodes": rows}]
    return {"now": NOW, "policy": {}, "clusters": clusters, "deployments": [deployment]}


def test_a_document_may_list_nodes_instead_of_the_capacity() -> None:
    read = Snapshot.from_json(document())
    assert read.clusters[0].capacity == Resources(16_000, 16_384, 4)
    assert places(make_plan(read)) == {1: (1, 2)}
    assert Snapshot.from_json(read.to_json()) == read


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("state", "gone", r"clusters\[0\].nodes\[1\].state: must be one of active"),
        ("labels", {"zone": 1}, r"clusters\[0\].nodes\[1\].labels.zone: expected text"),
        ("id", 1, "nodes of cluster 1: the id 1 occurs more than once"),
        ("size", 1, r"clusters\[0\].nodes\[1\].size: no such field"),
    ],
)
def test_an_error_in_a_node_names_the_field(path: str, value: object, complaint: str) -> None:
    rows = document()
    rows["clusters"][0]["nodes"][1][path] = value  # type: ignore[index]
    with pytest.raises(ValueError, match=f"^{complaint}"):
        Snapshot.from_json(rows)


def test_an_error_in_a_requirement_of_a_document_names_the_field() -> None:
    rows = document()
    rows["deployments"][0]["require"] = {"zone": "b"}  # type: ignore[index]
    with pytest.raises(ValueError, match=r"^deployments\[0\].require.zone: expected a list of"):
        Snapshot.from_json(rows)


def test_the_node_is_freed_whose_deployments_fit_elsewhere() -> None:
    """Evicting one of priority 1 from n1 would be enough, but those of n2 can all move."""
    nodes = rack(node(1, 4), node(2, 4), node(3, 2))
    rows = [active(1, 1, 4, node=1), active(2, 1, 1, node=2), active(3, 1, 1, node=2)]
    made = plan(nodes, *rows, ready(4, 9, 4))
    assert made.evictions == ()
    assert moves(made) == {2: (2, 3), 3: (2, 3)}


# -- laws --


def gathered(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with its clusters as the labelled nodes of one."""
    nodes = tuple(
        Node(c.id, c.capacity, c.name, {"cluster": str(c.id)}, c.state) for c in snapshot.clusters
    )
    rows = [
        replace(
            d,
            cluster=None if d.cluster is None else 1,
            node=d.cluster,
            requested_cluster=None,
            require=requirements(
                {} if d.requested_cluster is None else {"cluster": [str(d.requested_cluster)]}
            ),
        )
        for d in snapshot.deployments
    ]
    return replace(snapshot, clusters=(rack(*nodes),), deployments=tuple(rows))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 2**32 - 1), policies)
def test_the_nodes_of_one_cluster_are_planned_like_as_many_clusters(
    seed: int, policy: Policy
) -> None:
    apart = large(50, 5, policy, seed)
    together = make_plan(gathered(apart))
    made = make_plan(apart)
    assert {p.deployment: p.node for p in together.placements} == placed(made)
    assert evicted(together) == evicted(made)
    assert moves(together) == moved(made)
    assert [e.proved_minimal for e in together.evictions] == [
        e.proved_minimal for e in made.evictions
    ]
