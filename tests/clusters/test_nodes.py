"""Nodes over REST: shapes, sums, states, and refusals with their remedies."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from clusters import nodes, services
from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from clusters.nodes import NodeSpec
from deployments import services as deployment_services
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event, Organization, Role
from scheduling.insight.verify import violations
from tests.fixtures.deployments import Bring, MemberAs
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, ids, refusal

A100 = {"gpu.model": "a100-80gb", "zone": "a"}
BODY = {"name": "gpu-9", "cpu": 2, "ram_mib": "4Gi", "gpu": 1, "labels": A100}
KEYS = {
    "id", "cluster", "name", "cpu", "ram_mib", "gpu", "labels", "allocated", "available", "state",
    "foreign", "engine_message", "lost_contact_at", "created_at",
}  # fmt: skip


@pytest.fixture
def api(alice: User, acme: Organization, client_for: ClientFor) -> APIClient:
    return client_for(alice)


@pytest.fixture
def rack(acme: Organization) -> Cluster:
    """Two nodes of 4 cores, 8 GiB and 1 GPU."""
    specs = NodeSpec("gpu", Capacity(4000, 8192, 1), A100).repeated(2)
    return services.create(actor="alice", organization=acme, name="rack", specs=specs)


def path(cluster: Cluster, node: Node | None = None, verb: str = "") -> str:
    parts = [f"/clusters/{cluster.pk}/nodes", *([str(node.pk)] if node else []), verb]
    return "/".join(filter(None, parts))


def put_on(node: Node, deployment: Deployment) -> None:
    """Record the placement of the deployment on this node."""
    for rows in (Deployment.objects.filter(pk=deployment.pk), deployment.runs.all()):
        rows.update(cluster=node.cluster, node=node)


def test_a_cluster_of_one_size_is_one_node_named_like_it(api: APIClient) -> None:
    body = {"name": "Rack 1", "cpu": 4, "ram_mib": 8192, "gpu": 1}
    cluster = Cluster.objects.get(pk=api.post("/clusters", body).data["id"])

    (node,) = api.get(path(cluster)).data["results"]

    assert set(node) == KEYS
    assert (node["name"], node["labels"], node["state"]) == ("rack-1", {}, "active")
    assert (node["cpu"], node["ram_mib"], node["gpu"]) == (4, 8192, 1)


def test_a_cluster_of_nodes_is_their_sum(api: APIClient) -> None:
    specs = [
        {"name": "gpu", "count": 2, "cpu": 96, "ram_mib": "1Ti", "gpu": 8, "labels": A100},
        {"name": "login", "cpu": "500m", "ram_mib": 1024},
    ]

    made = api.post("/clusters", {"name": "rack", "nodes": specs})

    assert made.status_code == 201
    assert (made.data["cpu"], made.data["ram_mib"], made.data["gpu"]) == (192.5, 2098176, 16)
    assert made.data["nodes"] == 3
    assert made.data["largest_free"] == {"cpu": 96, "ram_mib": 1048576, "gpu": 8}
    rows = api.get(f"/clusters/{made.data['id']}/nodes").data["results"]
    assert [(row["name"], row["gpu"], row["labels"]) for row in rows] == [
        ("gpu-1", 8, A100), ("gpu-2", 8, A100), ("login", 0, {}),
    ]  # fmt: skip
    assert list(violations()) == []


@pytest.mark.parametrize(
    ("wrong", "attr"),
    [
        ({"name": "Gpu"}, "nodes.0.name"),
        ({"name": "-gpu"}, "nodes.0.name"),
        ({"name": "g" * 254}, "nodes.0.name"),
        ({"name": "g" * 252, "count": 10}, "nodes.0.name"),
        ({"cpu": 0}, "nodes.0.cpu"),
        ({"count": 0}, "nodes.0.count"),
        ({"count": 2001}, "nodes.0.count"),
        ({"colour": "red"}, "nodes.0.colour"),
        ({"labels": {"zone": 1}}, "nodes.0.labels.zone"),
        ({"labels": {"zone": "a b"}}, "nodes.0.labels.zone"),
        ({"labels": {"-zone": "a"}}, "nodes.0.labels.-zone"),
        ({"labels": ["zone"]}, "nodes.0.labels"),
        ({"labels": {f"label-{n}": "" for n in range(65)}}, "nodes.0.labels"),
    ],
)
def test_a_wrong_field_of_a_node_is_named(api: APIClient, wrong: dict[str, Any], attr: str) -> None:
    response = api.post("/clusters", {"name": "rack", "nodes": [BODY | wrong]})

    assert attrs(response) == {attr}
    assert not Cluster.objects.exists()


def test_an_entry_that_is_no_node_is_named(api: APIClient) -> None:
    response = api.post("/clusters", {"name": "rack", "nodes": [BODY, 3]})

    assert attrs(response) == {"nodes.1"}


@pytest.mark.parametrize("amount", [{"cpu": 1}, {"ram_mib": 1}, {"gpu": 1}])
def test_nodes_and_amounts_exclude_each_other(api: APIClient, amount: dict[str, Any]) -> None:
    response = api.post("/clusters", {"name": "rack", "nodes": [BODY], **amount})

    assert attrs(response) == {"nodes"}


@pytest.mark.parametrize("wrong", [[], None, 3, "gpu"])
def test_nodes_are_a_list_with_entries(api: APIClient, wrong: Any) -> None:
    assert attrs(api.post("/clusters", {"name": "rack", "nodes": wrong})) == {"nodes"}


def test_counts_are_added_before_any_node_is_made(api: APIClient) -> None:
    many = [BODY | {"name": f"n{number}", "count": 2000} for number in range(2000)]

    assert attrs(api.post("/clusters", {"name": "rack", "nodes": many})) == {"nodes"}


def test_two_nodes_of_a_cluster_have_different_names(api: APIClient, rack: Cluster) -> None:
    at_once = api.post("/clusters", {"name": "other", "nodes": [BODY, BODY]})
    later = api.post(path(rack), BODY | {"name": "gpu-1"})

    for response, attr in ((at_once, "nodes"), (later, "name")):
        error = refusal(response, 400)
        assert (error["attr"], error["code"]) == (attr, "unique")
    assert not Cluster.objects.filter(name="other").exists()


def test_a_node_is_added_to_the_sum(api: APIClient, rack: Cluster) -> None:
    made = api.post(path(rack), BODY)

    assert made.status_code == 201
    assert set(made.data) == KEYS
    assert made.data["available"] == {"cpu": 2, "ram_mib": 4096, "gpu": 1}
    rack.refresh_from_db()
    assert Capacity.of(rack) == Capacity(10000, 20480, 3)
    event = Event.objects.filter(subject="cluster", subject_id=rack.pk).latest("pk")
    assert (event.kind, event.actor, event.data) == (
        "node_added",
        "alice",
        {"node": made.data["id"]},
    )
    assert list(violations()) == []


def test_a_cluster_has_a_largest_number_of_nodes(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, rack: Cluster
) -> None:
    monkeypatch.setattr(nodes, "MAX_NODES", 2)

    error = refusal(api.post(path(rack), BODY), 400)

    assert error["code"] == "max_nodes"
    assert rack.nodes.count() == 2


def test_a_patch_changes_only_the_given_fields(api: APIClient, rack: Cluster) -> None:
    node = rack.nodes.all()[0]
    before = api.get(path(rack, node)).data

    after = api.patch(path(rack, node), {"labels": {"zone": "b"}, "gpu": 3}).data

    free = {"cpu": 4, "ram_mib": 8192, "gpu": 3}
    assert after == before | {"labels": {"zone": "b"}, "gpu": 3, "available": free}
    rack.refresh_from_db()
    assert rack.gpu == 4
    data = Event.objects.filter(subject="cluster", kind="node_updated").get().data
    assert data["labels"] == [A100, {"zone": "b"}]


def test_what_was_read_can_be_put_back(api: APIClient, rack: Cluster) -> None:
    node = rack.nodes.all()[0]
    for address in (path(rack, node), f"/clusters/{rack.pk}"):
        read, events = api.get(address).data, Event.objects.count()

        response = api.put(address, read)

        assert (response.status_code, response.data) == (200, read)
        assert Event.objects.count() == events


def test_a_node_cannot_shrink_below_what_is_allocated_on_it(
    api: APIClient, rack: Cluster, bring: Bring
) -> None:
    first, second = rack.nodes.all()
    put_on(first, bring(Status.RUNNING, gpu=1))

    error = refusal(api.patch(path(rack, first), {"gpu": 0}), 409)
    other = api.patch(path(rack, second), {"gpu": 0})

    assert "Node gpu-1 of cluster rack cannot shrink to 4 CPU, 8 GiB RAM, 0 GPU" in error["detail"]
    assert "1 CPU, 1 GiB RAM, 1 GPU are allocated" in error["detail"]
    assert "cordon the node" in error["detail"]
    assert other.status_code == 200


def test_a_cluster_of_several_nodes_is_resized_by_its_nodes(api: APIClient, rack: Cluster) -> None:
    error = refusal(api.patch(f"/clusters/{rack.pk}", {"gpu": 4}), 400)
    renamed = api.patch(f"/clusters/{rack.pk}", {"name": "shelf"})

    assert (error["code"], error["attr"]) == ("several_nodes", "gpu")
    assert "resize a node instead" in error["detail"]
    assert (renamed.status_code, renamed.data["gpu"]) == (200, 2)


def test_the_only_node_of_a_cluster_is_resized_with_it(api: APIClient, forge: Cluster) -> None:
    api.patch(f"/clusters/{forge.pk}", {"gpu": 4})

    assert forge.nodes.get().gpu == 4


def test_the_nodes_of_an_existing_cluster_are_not_replaced(api: APIClient, rack: Cluster) -> None:
    error = refusal(api.patch(f"/clusters/{rack.pk}", {"nodes": [BODY]}), 400)

    assert error["attr"] == "nodes"
    assert f"at /clusters/{rack.pk}/nodes" in error["detail"]


@pytest.mark.parametrize(
    ("verb", "state"), [("cordon", "cordoned"), ("drain", "draining"), ("uncordon", "active")]
)
def test_a_change_of_state_is_returned_and_recorded_once(
    api: APIClient, rack: Cluster, verb: str, state: str
) -> None:
    node = rack.nodes.all()[0]
    Node.objects.filter(pk=node.pk).update(state="active" if state != "active" else "cordoned")

    responses = [api.post(path(rack, node, verb)) for _ in range(2)]

    assert [(r.status_code, r.data["state"]) for r in responses] == [(200, state)] * 2
    event = Event.objects.get(subject="cluster", subject_id=rack.pk, kind=f"node_{state}")
    assert (event.actor, event.data["node"]) == ("alice", node.pk)


def test_the_state_of_a_lost_node_is_its_engines(api: APIClient, rack: Cluster) -> None:
    node = rack.nodes.all()[0]
    Node.objects.filter(pk=node.pk).update(state="lost")

    assert "is lost" in refusal(api.post(path(rack, node, "uncordon")), 409)["detail"]


def test_the_largest_free_amounts_are_those_of_one_active_node(
    api: APIClient, rack: Cluster, bring: Bring
) -> None:
    first, second = rack.nodes.all()
    put_on(first, bring(Status.RUNNING, cpu_milli=500, gpu=1))
    address = f"/clusters/{rack.pk}"

    assert api.get(address).data["available"]["gpu"] == 1
    assert api.get(address).data["largest_free"] == {"cpu": 4, "ram_mib": 8192, "gpu": 1}
    nodes.cordon(second, actor="alice")
    assert api.get(address).data["largest_free"] == {"cpu": 3.5, "ram_mib": 7168, "gpu": 0}
    services.cordon(rack, actor="alice")
    assert api.get(address).data["largest_free"] == {"cpu": 0, "ram_mib": 0, "gpu": 0}


def test_clusters_and_nodes_with_their_amounts_are_in_the_order_of_their_ids() -> None:
    for rows in (Cluster.objects.with_allocated(), Node.objects.with_allocated()):
        assert rows.ordered


def test_an_empty_node_can_be_deleted(api: APIClient, rack: Cluster) -> None:
    node = rack.nodes.all()[0]

    assert api.delete(path(rack, node)).status_code == 204

    rack.refresh_from_db()
    assert Capacity.of(rack) == Capacity(4000, 8192, 1)
    assert list(violations()) == []
    assert refusal(api.get(path(rack, node)), 404)["code"] == "not_found"


@pytest.mark.parametrize("status", [Status.STARTING, Status.RUNNING, Status.STOPPING])
def test_a_node_with_deployments_on_it_cannot_be_deleted(
    api: APIClient, rack: Cluster, bring: Bring, status: Status
) -> None:
    node, deployment = rack.nodes.all()[0], bring(status)
    put_on(node, deployment)

    error = refusal(api.delete(path(rack, node)), 409)

    assert f"job (deployment {deployment.pk})" in error["detail"]
    assert "Drain it" in error["detail"]


def test_a_node_with_stopping_containers_cannot_be_deleted(
    api: APIClient, rack: Cluster, bring: Bring
) -> None:
    node, deployment = rack.nodes.all()[0], bring(Status.RUNNING)
    put_on(node, deployment)
    deployment_services.requeue(deployment, actor="bob")

    assert "still stopping" in refusal(api.delete(path(rack, node)), 409)["detail"]


def test_the_only_node_cannot_be_deleted(api: APIClient, forge: Cluster) -> None:
    error = refusal(api.delete(path(forge, forge.nodes.get())), 409)

    assert "delete the cluster" in error["detail"]


def test_a_node_is_found_only_below_its_own_cluster(
    api: APIClient, rack: Cluster, forge: Cluster
) -> None:
    assert ids(api.get(path(rack))) == [node.pk for node in rack.nodes.all()]
    refusal(api.get(path(rack, forge.nodes.get())), 404)
    refusal(api.delete(path(forge, rack.nodes.all()[0])), 404)


@pytest.mark.parametrize("state", ["active", "draining"])
def test_nodes_are_filtered_by_state(api: APIClient, rack: Cluster, state: str) -> None:
    first, second = rack.nodes.all()
    nodes.drain(second, actor="alice")

    found = {"active": first, "draining": second}[state]
    assert ids(api.get(f"{path(rack)}?state={state}")) == [found.pk]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_members_below_admin_read_nodes_and_change_none(
    rack: Cluster, member_as: MemberAs, client_for: ClientFor, role: Role
) -> None:
    client, node = client_for(member_as(role)), rack.nodes.all()[0]
    calls = [
        client.post(path(rack), BODY),
        client.put(path(rack, node), BODY),
        client.patch(path(rack, node), {"gpu": 5}),
        client.delete(path(rack, node)),
        *(client.post(path(rack, node, verb)) for verb in ("cordon", "uncordon", "drain")),
    ]

    assert {refusal(call, 403)["code"] for call in calls} == {"permission_denied"}
    assert client.get(path(rack, node)).status_code == 200
    assert rack.nodes.filter(state="active", gpu=1).count() == 2


def test_a_connected_cluster_has_exactly_one_node(api: APIClient, forge: Cluster) -> None:
    Cluster.objects.filter(pk=forge.pk).update(driver="kubernetes")

    error = refusal(api.post(path(forge), BODY), 400)

    assert error["code"] == "one_node"
    assert "has exactly one node" in error["detail"]
