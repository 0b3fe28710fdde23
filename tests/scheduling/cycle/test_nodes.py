"""Cycles on clusters of several nodes: from the rows of nodes to placements on them, and back."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from clusters import nodes
from clusters.models import Cluster, Node
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.moves import move
from deployments.runtime.models import Run
from orgs.models import Event, Organization
from scheduling.cycle.recording import replay, unpack
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.insight.explain import explain
from scheduling.insight.operator_actions import ACTIONS, Change
from scheduling.insight.preview import preview
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from scheduling.planner.compare import Kind
from scheduling.planner.requirements import preferences_to_json, requirements_to_json
from scheduling.planner.snapshot import Snapshot
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.console import confirm
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

CHANGE = SchedulingCycle.Trigger.CHANGE


@pytest.fixture(autouse=True)
def healthy(db: None) -> Any:
    """Every test leaves the ledger consistent."""
    yield
    assert list(violations()) == []


def cycle(organization: Organization) -> SchedulingCycle | None:
    return run_cycle(organization.pk, CHANGE)


def first(cluster: Cluster) -> Node:
    return cluster.nodes.get(name="gpu-1")


def second(cluster: Cluster) -> Node:
    return cluster.nodes.get(name="gpu-2")


def node_of(deployment: Deployment) -> Node | None:
    deployment.refresh_from_db()
    return deployment.node


def last_event(deployment: Deployment) -> Event:
    return Event.objects.filter(subject="deployment", subject_id=deployment.pk).latest("pk")


def test_a_placement_is_on_a_node_that_holds_it(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    rows = [submit(gpu=2), submit(gpu=2)]

    cycle(acme)

    assert {node_of(row) for row in rows} == {first(rack), second(rack)}
    for row in rows:
        assert row.runs.get().node == row.node
        assert last_event(row).data["node"] == row.node_id


def test_the_free_capacity_of_several_nodes_does_not_add_up(
    acme: Organization, rack: Cluster, submit: Submit, bob: User, client_for: ClientFor
) -> None:
    for closed, other in ((first(rack), second(rack)), (second(rack), first(rack))):
        nodes.cordon(closed, actor="alice")
        nodes.uncordon(other, actor="alice")
        submit(gpu=1)
        cycle(acme)
    nodes.uncordon(second(rack), actor="alice")
    large = submit(gpu=2)

    cycle(acme)

    assert node_of(large) is None
    wait = explain(large)
    assert (wait.status, wait.code) == ("pending", "scattered")
    assert "2 GPU are free for it on rack, but no node has 2 GPU" in wait.reason
    assert large.status_code == "scattered"
    (found,) = client_for(bob).get(f"/deployments/{large.pk}/explain").data["clusters"]
    assert {row["name"] for row in found["nodes"]} == {"gpu-1", "gpu-2"}
    assert [row["missing"]["gpu"] for row in found["nodes"]] == [1, 1]
    assert (found["free"], found["largest"]) == ({"gpu": 2}, {"gpu": 1})


def test_the_victims_of_a_preemptor_are_on_one_node(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    low = [submit(gpu=1, priority=10) for _ in range(4)]
    cycle(acme)
    homes = {row.pk: node_of(row) for row in low}
    high = submit(gpu=2, priority=90)

    cycle(acme)

    victims = [row for row in low if node_of(row) is None]
    assert {homes[row.pk] for row in victims} == {node_of(high)}
    assert len(victims) == 2
    for row in victims:
        eviction = Event.objects.get(subject_id=row.pk, kind="evicted")
        assert eviction.data["node"] == high.node_id


def test_only_a_node_with_the_required_labels_is_used(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    Node.objects.filter(pk=second(rack).pk).update(labels={"gpu.model": "h100", "spot": "true"})
    rows = [submit(gpu=1, require={"gpu.model": ["h100"]}) for _ in range(2)]
    rows.append(submit(gpu=1, require={"gpu.model": {"exists": True}}))
    stable = submit(gpu=1, require={"spot": {"not": ["true"]}})

    cycle(acme)

    assert sorted(str(node_of(row)) for row in rows) == ["None", "gpu-2", "gpu-2"]
    assert node_of(stable) == first(rack)


def test_the_planner_gets_labels_states_and_conditions(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    rack.nodes.filter(name="gpu-2").update(labels={"zone": "a"}, state="cordoned")
    row = submit(require={"zone": {"not": ["b"]}}, prefer={"zone": {"in": ["a"], "weight": 5}})

    snapshot = load(acme.pk, lock=False).snapshot

    (cluster,) = snapshot.clusters
    assert [(n.name, n.labels, n.state) for n in cluster.nodes] == [
        ("gpu-1", {}, "active"), ("gpu-2", {"zone": "a"}, "cordoned"),
    ]  # fmt: skip
    assert (cluster.capacity.gpu, cluster.nodes[0].capacity.gpu) == (4, 2)
    (deployment,) = snapshot.deployments
    assert requirements_to_json(deployment.require) == row.require
    assert preferences_to_json(deployment.prefer) == row.prefer
    assert Snapshot.from_json(snapshot.to_json()) == snapshot


@pytest.mark.parametrize("wanted", ["gpu-1", "gpu-2"])
def test_among_equal_nodes_the_preferred_one_is_used(
    acme: Organization, rack: Cluster, submit: Submit, wanted: str
) -> None:
    rack.nodes.filter(name=wanted).update(labels={"disk": "ssd"})
    row = submit(gpu=1, prefer={"disk": {"in": ["ssd"], "weight": 5}})

    cycle(acme)

    assert str(node_of(row)) == wanted


def test_a_drained_node_loses_its_deployments_to_the_others(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    rows = [submit(gpu=1), submit(gpu=1)]
    nodes.cordon(second(rack), actor="alice")
    cycle(acme)
    nodes.uncordon(second(rack), actor="alice")
    nodes.drain(first(rack), actor="alice")

    cycle(acme)

    assert [node_of(row) for row in rows] == [second(rack)] * 2
    for row in rows:
        event = last_event(row)
        assert (event.kind, row.preemptions) == ("moved", 0)
        assert (event.data["from_node"], event.data["node"]) == (first(rack).pk, second(rack).pk)
        assert [run.node for run in row.runs.all()] == [first(rack), second(rack)]


def test_a_cordoned_node_keeps_its_deployments_and_gets_no_new_ones(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    rows = [submit(gpu=2), submit(gpu=2)]
    cycle(acme)
    nodes.cordon(first(rack), actor="alice")
    (there,) = [row for row in rows if node_of(row) == first(rack)]
    (elsewhere,) = [row for row in rows if row != there]
    services.stop(elsewhere, actor="bob")
    waiting = [submit(gpu=2), submit(gpu=2)]

    cycle(acme)

    assert node_of(there) == first(rack)
    assert [str(node_of(row)) for row in waiting] == ["gpu-2", "None"]


def test_a_container_starts_only_when_its_own_node_is_free(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    low = submit(gpu=2, priority=10, env={"SIMULATE_STOP_SECONDS": "3600"})
    other = submit(gpu=2, priority=90)
    cycle(acme)
    reconcile(rack.pk)
    home = node_of(low)
    high = submit(gpu=2, priority=90)
    cycle(acme)
    services.stop(other, actor="bob")

    reconcile(rack.pk)

    assert node_of(high) == home
    assert Deployment.objects.get(pk=high.pk).status == Status.STARTING
    assert Run.objects.get(deployment=high).launched_at is None


def test_a_move_by_an_operator_takes_the_tightest_node_that_fits(
    acme: Organization, rack: Cluster, forge: Cluster, submit: Submit
) -> None:
    row = submit(gpu=1, requested_cluster=forge)
    tight = submit(gpu=1, requested_cluster=rack)
    cycle(acme)

    moved = move(row, actor="olga", target=rack)

    assert moved.node == node_of(tight)
    assert last_event(moved).data["node"] == moved.node_id


def test_a_move_respects_the_required_labels(
    acme: Organization, rack: Cluster, forge: Cluster, submit: Submit
) -> None:
    forge.nodes.update(labels={"zone": "a"})
    Node.objects.filter(pk=second(rack).pk).update(labels={"zone": "a"})
    row = submit(gpu=1, require={"zone": ["a"]}, requested_cluster=forge)
    cycle(acme)

    assert move(row, actor="olga", target=rack).node == second(rack)


def test_a_record_of_several_nodes_is_planned_again_the_same(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    submit(gpu=1, require={"zone": {"exists": False}}, prefer={"zone": ["a"]})
    made = cycle(acme)
    assert made is not None
    record = bytes(made.record or b"")

    snapshot, decided = unpack(record)

    assert len(snapshot.clusters[0].nodes) == 2
    (decision,) = decided.values()
    assert decision.node in {node.pk for node in rack.nodes.all()}
    assert replay(record, {}) == []


def test_a_dry_run_names_the_node(
    rack: Cluster, bob: User, client_for: ClientFor, submit: Submit, acme: Organization
) -> None:
    low = [submit(gpu=2, priority=10) for _ in range(2)]
    cycle(acme)
    body = {"name": "x", "image": "busybox", "cpu": 1, "ram_mib": 1024, "gpu": 2, "priority": 90}

    found = client_for(bob).post("/deployments?dry_run=true", body).data

    assert found["outcome"] == "preempt"
    (eviction,) = found["evictions"]
    assert found["node"] == eviction["node"]
    assert found["node"] in {getattr(node_of(row), "pk", None) for row in low}


def test_the_preview_of_a_nodes_drain_names_both_nodes(
    console: Client, acme: Organization, rack: Cluster, submit: Submit
) -> None:
    row = submit(gpu=1)
    nodes.cordon(second(rack), actor="alice")
    cycle(acme)
    nodes.uncordon(second(rack), actor="alice")
    change = Change(ACTIONS["drain_node"], (first(rack).pk,), "olga")

    result = preview(change)

    (consequence,) = result.consequences
    assert (consequence.deployment, consequence.kind) == (row.pk, Kind.MOVES)
    assert result.places.name(rack.pk, consequence.source_node) == "gpu-1 of rack"
    assert first(rack).state == "active"
    page = console.get(f"/admin/preview/drain_node/?id={first(rack).pk}").content.decode()
    assert "gpu-1 of rack → gpu-2 of rack" in page
    confirm(console, "drain_node", first(rack))
    assert first(rack).state == "draining"


def test_a_deployment_that_the_former_release_placed_is_planned(
    acme: Organization, rack: Cluster, submit: Submit
) -> None:
    row = submit(gpu=1)
    cycle(acme)
    Deployment.objects.filter(pk=row.pk).update(node=None)
    Run.objects.filter(deployment=row).update(node=None)
    nodes.drain(first(rack), actor="alice")
    cycle(acme)
    reconcile(rack.pk)

    assert node_of(row) == second(rack)


def test_an_answer_names_the_node(
    acme: Organization, rack: Cluster, submit: Submit, bob: User, client_for: ClientFor
) -> None:
    row = submit(gpu=1)
    cycle(acme)
    node = node_of(row)
    assert node is not None
    client: APIClient = client_for(bob)

    assert client.get(f"/deployments/{row.pk}").data["node"] == {"id": node.pk, "name": node.name}
    found = client.get(f"/deployments?node={node.pk}").data["results"]
    assert [each["id"] for each in found] == [row.pk]


# --- Storage --------------------------------------------------------------------------------------


def test_a_deployment_with_a_limit_of_storage_evicts_nothing_where_none_is_possible(
    rack: Cluster, submit: Submit
) -> None:
    Node.objects.filter(pk=first(rack).pk).update(can_limit_storage=False)
    lower = [submit(gpu=2, priority=10) for _ in range(2)]
    cycle(rack.organization)

    limited = submit(gpu=2, priority=90, ephemeral_storage_mib=100)
    cycle(rack.organization)

    limited.refresh_from_db()
    assert limited.node
    assert limited.node.name == "gpu-2"
    there = {row.node.name for row in Deployment.objects.filter(pk__in=[r.pk for r in lower])
             if row.node}  # fmt: skip
    assert there == {"gpu-1"}


def test_it_waits_with_a_reason_if_no_engine_can_limit_storage_any_more(
    rack: Cluster, submit: Submit
) -> None:
    limited = submit(ephemeral_storage_mib=100)
    rack.nodes.update(can_limit_storage=False)

    cycle(rack.organization)

    limited.refresh_from_db()
    assert limited.status == Status.PENDING
    assert "ephemeral-storage is not unlimited" in explain(limited).reason


@pytest.mark.parametrize("able", [[], ["gpu-1"], ["gpu-1", "gpu-2"]])
def test_a_limit_that_no_engine_can_enforce_is_refused_at_submission(
    rack: Cluster, alice: User, client_for: ClientFor, able: list[str]
) -> None:
    rack.nodes.exclude(name__in=able).update(can_limit_storage=False)
    body = {"name": "x", "image": "x", "cpu": 1, "ram_mib": 1}

    answer = client_for(alice).post("/deployments", body | {"ephemeral_storage_mib": 100})
    without = client_for(alice).post("/deployments", body)
    changed = client_for(alice).patch(
        f"/deployments/{without.data['id']}", {"ephemeral_storage_mib": 100}
    )

    assert without.status_code == 201
    assert (answer.status_code, changed.status_code) == ((201, 200) if able else (400, 400))
    if not able:
        (error,) = answer.data["errors"]
        assert (error["attr"], error["code"]) == ("ephemeral_storage_mib", "unsupported")
        assert error["detail"] == changed.data["errors"][0]["detail"]
        assert "leave `ephemeral_storage_mib` out" in error["detail"]
