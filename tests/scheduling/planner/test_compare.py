"""The consequences of a change, as named cases and as a law."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rules import Result
from scheduling.planner.compare import Consequence, Kind, consequences
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Node, Snapshot
from tests.support.snapshots import NOW, snapshots

EAST, WEST = 1, 2


def one(id_: int, priority: int = 50, **fields: object) -> Deployment:
    """Return a deployment that fills a cluster."""
    started = NOW - 100 if fields.get("cluster") else None
    row = Deployment(id_, priority, Resources(4, 4, 0), NOW - 200, placed_at=started)
    return replace(row, **fields)  # type: ignore[arg-type]


def world(*deployments: Deployment, west: ClusterState = ClusterState.CORDONED) -> Snapshot:
    """Return two clusters with capacity for one deployment each."""
    clusters = (
        Cluster(EAST, Resources(4, 4, 0), name="east"),
        Cluster(WEST, Resources(4, 4, 0), west, name="west"),
    )
    return Snapshot(NOW, Policy(), clusters, deployments)


def difference(before: Snapshot, after: Snapshot) -> dict[int, Consequence]:
    rows = consequences(before, make_plan(before), after, make_plan(after))
    return {row.deployment: row for row in rows}


def kinds(before: Snapshot, after: Snapshot) -> dict[int, Kind]:
    return {id_: row.kind for id_, row in difference(before, after).items()}


def test_no_change_has_no_consequences() -> None:
    now = world(one(1, cluster=EAST), one(2), one(3, 90))

    assert difference(now, now) == {}


def test_a_deployment_starts_in_the_capacity_of_one_that_leaves() -> None:
    before = world(one(1, cluster=EAST), one(2), one(3, 40))

    assert kinds(before, world(one(2), one(3, 40))) == {1: Kind.WITHDRAWN, 2: Kind.STARTS}


def test_a_move_between_nodes_of_one_cluster_is_a_move() -> None:
    nodes = tuple(Node(n, Resources(4, 4, 0), f"n{n}") for n in (1, 2))
    cluster = Cluster(EAST, Resources(8, 8, 0), name="east", nodes=nodes)
    before = Snapshot(NOW, Policy(), (cluster,), (one(1, cluster=EAST, node=1),))
    drained = replace(cluster, nodes=(replace(nodes[0], state=ClusterState.DRAINING), nodes[1]))

    row = difference(before, replace(before, clusters=(drained,)))[1]

    assert row.kind == Kind.MOVES
    assert (row.source, row.source_node) == (EAST, 1)
    assert (row.target, row.target_node) == (EAST, 2)


def test_a_requeued_deployment_that_is_placed_on_its_cluster_again_restarts() -> None:
    before = world(one(1, cluster=EAST))

    assert kinds(before, world(one(1))) == {1: Kind.RESTARTS}


def test_a_requeued_deployment_waits_for_a_higher_priority() -> None:
    before = world(one(1, cluster=EAST, preemptible=False), one(2, 90))

    after = difference(before, world(one(1), one(2, 90)))

    assert {id_: row.kind for id_, row in after.items()} == {1: Kind.WAITS, 2: Kind.STARTS}
    assert after[1].source == EAST
    assert "is short of" in after[1].reason


def test_a_raised_priority_evicts_a_lower_one_and_names_the_preemptor() -> None:
    before = world(one(1, cluster=EAST), one(2, 40))

    after = difference(before, world(one(1, cluster=EAST), one(2, 90)))

    assert {id_: row.kind for id_, row in after.items()} == {1: Kind.EVICTED, 2: Kind.STARTS}
    assert (after[1].for_, after[1].source, after[1].target) == (2, EAST, None)


def test_a_changed_deployment_is_listed_even_if_its_placement_is_the_same() -> None:
    before = world(one(1, cluster=EAST), one(2, 40))

    after = world(one(1, cluster=EAST), one(2, 41))

    assert kinds(before, after) == {2: Kind.WAITS}


def test_a_decision_of_both_plans_is_no_consequence() -> None:
    before = world(one(1, 90), one(2, cluster=EAST), one(3, 10))

    assert kinds(before, world(one(1, 90), one(2, cluster=EAST))) == {3: Kind.WITHDRAWN}


def test_a_deployment_that_would_have_been_evicted_stays() -> None:
    before = world(one(1, 90), one(2, cluster=EAST))

    after = world(one(2, cluster=EAST))

    assert kinds(before, after) == {1: Kind.WITHDRAWN, 2: Kind.STAYS}


def test_a_drain_moves_a_deployment_which_evicts_another() -> None:
    draining = (Cluster(EAST, Resources(4, 4, 0), ClusterState.DRAINING, "east"),)
    rows = (one(1, 60, cluster=EAST), one(2, 40, cluster=WEST))
    before = world(*rows, west=ClusterState.ACTIVE)

    after = difference(before, replace(before, clusters=(*draining, before.clusters[1])))

    assert (after[1].kind, after[1].target, after[1].for_) == (Kind.MOVES, WEST, None)
    assert (after[2].kind, after[2].for_) == (Kind.EVICTED, 1)


def test_a_drain_of_the_only_cluster_evicts_without_a_preemptor() -> None:
    before = world(one(1, cluster=EAST))
    clusters = (replace(before.clusters[0], state=ClusterState.DRAINING), before.clusters[1])

    after = difference(before, replace(before, clusters=clusters))

    assert (after[1].kind, after[1].for_, after[1].code) == (Kind.EVICTED, None, "drained")


@st.composite
def changes(draw: st.DrawFn) -> tuple[Snapshot, Snapshot]:
    """A snapshot, and the same with changes to some deployments and one cluster."""
    before = draw(snapshots())
    rows = []
    for row in before.deployments:
        what = draw(st.sampled_from(["keep"] * 4 + ["remove", "requeue", "raise"]))
        if what == "requeue":
            row = replace(row, cluster=None, placed_at=None)
        elif what == "raise":
            row = replace(row, priority=draw(st.integers(1, 5)))
        if what != "remove":
            rows.append(row)
    first, *rest = before.clusters
    first = replace(first, state=draw(st.sampled_from(ClusterState)))
    return before, replace(before, clusters=(first, *rest), deployments=tuple(rows))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(changes())
def test_the_consequences_give_the_cluster_of_each_deployment_after_the_next_cycle(
    change: tuple[Snapshot, Snapshot],
) -> None:
    before, after = change
    anyway = {d.id: d.cluster for d in Result(before, make_plan(before)).carried_out().deployments}

    found = difference(before, after)

    places = {d.id: d.cluster for d in Result(after, make_plan(after)).carried_out().deployments}
    for id_, place in places.items():
        assert place == (found[id_].target if id_ in found else anyway[id_])
    for id_ in anyway.keys() - places.keys():
        assert found[id_].kind == Kind.WITHDRAWN
