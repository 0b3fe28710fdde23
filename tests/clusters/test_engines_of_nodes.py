"""A cluster whose nodes are connected to an engine each."""

from collections.abc import Callable
from importlib import import_module
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.db import connection as database
from django.utils import timezone

from accounts.models import User
from clusters import connections, engines, nodes
from clusters.capacity import Capacity
from clusters.connections import Route
from clusters.models import Cluster, Connection, Node
from clusters.node_states import NO_ENGINE
from clusters.nodes import NodeSpec
from hypervisor.base.errors import Conflict, Invalid
from orgs.models import Event
from tests.fixtures.engines import DEVICES, NewFake, route_to
from tests.fixtures.people import ClientFor
from tests.support.fake_engine import FakeEngine

pytestmark = pytest.mark.django_db


def states(cluster: Cluster) -> dict[str, str]:
    return dict(Node.objects.filter(cluster=cluster).values_list("name", "state"))


def connected(cluster: Cluster) -> list[str | None]:
    return list(Connection.objects.filter(cluster=cluster).values_list("node__name", flat=True))


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_a_node_without_an_engine_takes_no_deployments(rack: Cluster, new_fake: NewFake) -> None:
    new_fake("gpu-1")

    connections.connect(rack, actor="olga", route=route_to("gpu-1"), node="gpu-1")

    assert states(rack) == {"gpu-1": "active", "gpu-2": "cordoned"}
    assert rack.nodes.get(name="gpu-2").engine_message == NO_ENGINE
    with pytest.raises(Conflict, match="No engine is connected to it"):
        nodes.uncordon(rack.nodes.get(name="gpu-2"), actor="alice")


def test_each_node_has_the_devices_of_its_engine(
    rack: Cluster, rigs: dict[str, FakeEngine]
) -> None:
    assert states(rack) == {"gpu-1": "active", "gpu-2": "active"}
    assert connected(rack) == ["gpu-1", "gpu-2"]
    for engine in engines.of_cluster(rack):
        assert list(engine.devices) == list(DEVICES)
        assert [node.pk for node in engine.nodes] == [engine.node.pk] if engine.node else False


def test_the_only_node_of_a_cluster_need_not_be_named(forge: Cluster, new_fake: NewFake) -> None:
    new_fake("forge")

    connections.connect(forge, actor="olga", route=route_to("forge"))

    assert connected(forge) == ["forge"]
    (event,) = Event.objects.filter(subject="cluster", kind="connected")
    assert event.reason.startswith("Connected to an engine")


def test_of_several_nodes_one_has_to_be_named(rack: Cluster, new_fake: NewFake) -> None:
    new_fake("gpu-1")

    for name, match in ((None, "name one of gpu-1, gpu-2"), ("gpu-3", "has no node gpu-3: name")):
        with pytest.raises(Invalid, match=match) as wrong:
            connections.connect(rack, actor="olga", route=route_to("gpu-1"), node=name)
        assert wrong.value.attr == "node"
    assert not Connection.objects.exists()


def test_an_engine_of_all_nodes_takes_no_node(rack: Cluster) -> None:
    route = Route("kubernetes", "https://192.0.2.1", namespace="batch")

    with pytest.raises(Invalid, match=r"\(Kubernetes\) runs the containers of all nodes"):
        connections.probe(rack, route, node="gpu-1")


def test_the_engines_of_a_cluster_are_of_one_kind(
    rack: Cluster, rigs: dict[str, FakeEngine]
) -> None:
    route = Route("kubernetes", "https://192.0.2.1", namespace="batch")

    with pytest.raises(Conflict, match=r"engines of another kind \(Docker\): disconnect them"):
        connections.probe(rack, route)


def test_an_engine_is_connected_to_one_node_only(
    rack: Cluster, forge: Cluster, new_fake: NewFake
) -> None:
    new_fake("gpu-1")
    connections.connect(rack, actor="olga", route=route_to("gpu-1"), node="gpu-1")

    with pytest.raises(Conflict, match="already connected to node gpu-1 of cluster rack of Acme"):
        connections.connect(rack, actor="olga", route=route_to("gpu-1"), node="gpu-2")
    with pytest.raises(Conflict, match="already connected to node gpu-1 of cluster rack of Acme"):
        connections.connect(forge, actor="olga", route=route_to("gpu-1"))
    assert connected(rack) == ["gpu-1"]


def test_a_node_that_is_added_to_a_connected_cluster_waits_for_its_engine(
    forge: Cluster, new_fake: NewFake
) -> None:
    new_fake("forge")
    new_fake("forge-2")
    connections.connect(forge, actor="olga", route=route_to("forge"))
    forge.refresh_from_db()

    nodes.add(forge, actor="alice", spec=NodeSpec("forge-2", Capacity(4000, 8192, 2)))

    assert states(forge) == {"forge": "active", "forge-2": "cordoned"}
    connections.connect(forge, actor="olga", route=route_to("forge-2"), node="forge-2")
    assert states(forge) == {"forge": "active", "forge-2": "active"}


def test_a_connection_from_before_engines_had_nodes_gets_its_node_with_the_second(
    forge: Cluster, new_fake: NewFake
) -> None:
    new_fake("forge")
    connections.connect(forge, actor="olga", route=route_to("forge"))
    Connection.objects.update(node=None)
    forge.refresh_from_db()

    nodes.add(forge, actor="alice", spec=NodeSpec("forge-2", Capacity(4000, 8192, 2)))

    assert connected(forge) == ["forge"]
    assert states(forge) == {"forge": "active", "forge-2": "cordoned"}


def test_the_migration_names_the_only_node_of_a_docker_engine(
    forge: Cluster, rack: Cluster, new_fake: NewFake
) -> None:
    new_fake("forge")
    connections.connect(forge, actor="olga", route=route_to("forge"))
    Connection.objects.update(node=None)
    Connection.objects.create(cluster=rack, engine_id="kube", probed_at=timezone.now())
    Cluster.objects.filter(pk=rack.pk).update(driver="kubernetes")
    migration = import_module("clusters.migrations.0020_docker_engines_are_nodes")

    with database.cursor() as cursor:
        cursor.execute(migration.NAME_NODES)

    assert (connected(forge), connected(rack)) == (["forge"], [None])


def test_a_node_grows_no_further_than_its_own_engine(
    rack: Cluster, rigs: dict[str, FakeEngine]
) -> None:
    Connection.objects.filter(node__name="gpu-2").update(gpu=4)
    grown = NodeSpec("gpu-1", Capacity(4000, 8192, 3))

    with pytest.raises(Conflict, match="its engine has only"):
        nodes.update(rack.nodes.get(name="gpu-1"), actor="alice", spec=grown)
    second = rack.nodes.get(name="gpu-2")
    nodes.update(second, actor="alice", spec=NodeSpec("gpu-2", Capacity(4000, 8192, 4)))

    assert Cluster.objects.get(pk=rack.pk).gpu == 6


def test_the_warning_of_a_probe_names_the_node(rack: Cluster, new_fake: NewFake) -> None:
    new_fake("gpu-1")
    Node.objects.filter(name="gpu-1").update(gpu=3)

    found = connections.probe(rack, route_to("gpu-1"), node="gpu-1")

    assert "Node gpu-1 has 3 GPUs, but its engine has only 2: resize the node" in found.warnings[0]


def test_a_node_is_disconnected_and_cordoned_on_its_own(
    rack: Cluster, rigs: dict[str, FakeEngine]
) -> None:
    with pytest.raises(Conflict, match="is connected to an engine: disconnect it first"):
        nodes.delete(rack.nodes.get(name="gpu-2"), actor="alice")
    with pytest.raises(Invalid, match="name one of the nodes gpu-1, gpu-2"):
        connections.disconnect(rack, actor="olga")

    connections.disconnect(rack, actor="olga", node="gpu-2")

    rack.refresh_from_db()
    assert (rack.driver, rack.state) == ("docker", "active")
    assert states(rack) == {"gpu-1": "active", "gpu-2": "cordoned"}
    nodes.delete(rack.nodes.get(name="gpu-2"), actor="alice")


def test_without_the_last_engine_the_cluster_is_cordoned_and_its_nodes_are_people_s(
    rack: Cluster, rigs: dict[str, FakeEngine]
) -> None:
    connections.disconnect(rack, actor="olga", node="gpu-2")

    connections.disconnect(rack, actor="olga")

    rack.refresh_from_db()
    assert (rack.driver, rack.state) == ("simulated", "cordoned")
    assert states(rack) == {"gpu-1": "active", "gpu-2": "active"}


def test_the_database_refuses_engines_that_overlap(
    rack: Cluster, forge: Cluster, rigs: dict[str, FakeEngine]
) -> None:
    first, second = Connection.objects.filter(cluster=rack)
    wrong: list[Callable[[], object]] = [
        lambda: Connection.objects.filter(pk=first.pk).update(node=None),
        lambda: Connection.objects.filter(pk=first.pk).update(node=second.node),
        lambda: Connection.objects.filter(pk=first.pk).update(node=forge.nodes.get()),
        lambda: Connection.objects.create(
            cluster=rack, engine_id="another", probed_at=timezone.now()
        ),
    ]

    for write in wrong:
        with pytest.raises(IntegrityError), transaction.atomic():
            write()


def test_a_node_that_is_not_answered_for_is_shown_with_the_time(
    rack: Cluster, rigs: dict[str, FakeEngine], client_for: ClientFor, bob: User
) -> None:
    since = timezone.now()
    Connection.objects.filter(node__name="gpu-2").update(lost_contact_at=since)

    rows = client_for(bob).get(f"/clusters/{rack.pk}/nodes").data["results"]

    assert [row["lost_contact_at"] is None for row in rows] == [True, False]
    assert client_for(bob).get(f"/clusters/{rack.pk}").data["lost_contact_at"] is not None


def test_the_commands_name_the_node(rack: Cluster, new_fake: NewFake) -> None:
    new_fake("gpu-1")
    new_fake("gpu-2")
    connect = ("connect_cluster", "rack", "--docker")

    with pytest.raises(CommandError, match="name one of gpu-1, gpu-2"):
        run(*connect, "fake://gpu-1")
    first = run(*connect, "fake://gpu-1", "--node", "gpu-1", "--gpu-device", "g0", "--yes")
    second = run(*connect, "fake://gpu-2", "--node", "gpu-2", "--yes")

    assert "Connected node gpu-1 of cluster rack" in first
    assert "Without an engine, and therefore cordoned: gpu-2." in first
    assert "Without an engine" not in second
    kept = run(*connect, "fake://gpu-1", "--node", "gpu-1", "--yes")
    assert "1 GPU" not in kept
    assert Connection.objects.get(node__name="gpu-1").devices == ["g0"]
    with pytest.raises(CommandError, match="name one of the nodes gpu-1, gpu-2"):
        run("disconnect_cluster", "rack")
    assert "Disconnected node gpu-2 of cluster rack" in run(
        "disconnect_cluster", "rack", "--node", "gpu-2"
    )
