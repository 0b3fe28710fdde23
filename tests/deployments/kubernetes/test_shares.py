"""Two clusters on one Kubernetes, each in its own namespace and with its own share of the nodes."""

import threading
from dataclasses import replace

import pytest
from django.db import connection as database
from django.db import connections as databases
from django.db import transaction
from django.utils import timezone

from clusters import connections, drivers, engine_nodes, ownership
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.connections import Route
from clusters.models import Cluster, Connection
from clusters.nodes import NodeSpec
from deployments import services
from deployments.models import Deployment
from hypervisor.base.errors import Conflict
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.support import kube_api
from tests.support.docker_engine import wait_until
from tests.support.kube_api import Account, KubeCluster
from tests.support.kubernetes import IMAGE, UNTIL_ASKED, manifests
from tests.support.reconcile import driver_of, only_engine, reconcile

pytestmark = pytest.mark.django_db

A, B = "team-a", "team-b"


def granted(namespace: str) -> Account:
    """Return the account of the documented manifest, applied to the namespace."""
    text = [{**d, "metadata": {**d["metadata"], "namespace": namespace}} for d in manifests()]
    return Account.of(f"system:serviceaccount:{namespace}:hypervisor", namespace, text)


@pytest.fixture
def kube(kube: KubeCluster, monkeypatch: pytest.MonkeyPatch) -> KubeCluster:
    """Two nodes of pool a and two of pool b, of 8 cores and 16 GiB each."""
    monkeypatch.setattr(drivers, "_drivers", {})
    kube.nodes += [kube_api.Node("node-3"), kube_api.Node("node-4")]
    for node, pool in zip(kube.nodes, "aabb", strict=True):
        node.labels["pool"] = pool
    for namespace in (A, B):
        kube.namespaces[namespace] = namespace
        kube.accounts.append(granted(namespace))
    return kube


def cluster(organization: Organization, name: str) -> Cluster:
    return cluster_services.create(
        actor="alice", organization=organization, name=name, capacity=Capacity(1000, 1024, 0)
    )


@pytest.fixture
def east(acme: Organization) -> Cluster:
    return cluster(acme, "east")


@pytest.fixture
def west(acme: Organization) -> Cluster:
    return cluster(acme, "west")


def route(kube: KubeCluster, namespace: str, *selector: str) -> Route:
    return Route(
        "kubernetes", kube.url, namespace=namespace, credentials={"token": namespace},
        node_selector=selector,
    )  # fmt: skip


def connect(kube: KubeCluster, cluster: Cluster, namespace: str, *selector: str) -> None:
    connections.connect(cluster, actor="olga", route=route(kube, namespace, *selector))


@pytest.fixture
def shared(kube: KubeCluster, east: Cluster, west: Cluster) -> None:
    """East has pool a in the namespace team-a, west has pool b in team-b."""
    connect(kube, east, A, "pool=a")
    connect(kube, west, B, "pool=b")


def fresh(cluster: Cluster) -> Cluster:
    """Return the row with its present kind of engine."""
    return Cluster.objects.get(pk=cluster.pk)


def follow(*clusters: Cluster) -> None:
    for each in clusters:
        reconcile(each.pk)


def names(cluster: Cluster) -> set[str]:
    assert list(violations()) == []
    return set(cluster.nodes.values_list("name", flat=True))


def warnings(cluster: Cluster) -> list[str]:
    return list(Connection.objects.get(cluster=cluster).warnings)


def label(kube: KubeCluster, name: str, pool: str) -> None:
    next(node for node in kube.nodes if node.name == name).labels["pool"] = pool


def both_labels(kube: KubeCluster, name: str) -> None:
    """Give the node a label of each selector `pool=a` and `also=b`."""
    node = next(node for node in kube.nodes if node.name == name)
    node.labels |= {"pool": "a", "also": "b"}


def start(submit: Submit, cluster: Cluster, **fields: object) -> Deployment:
    spec = {"cpu_milli": 8000, "ram_mib": 16384, "requested_cluster": cluster} | fields
    job = submit(image=IMAGE, command=UNTIL_ASKED, **spec)
    run_cycle(cluster.organization_id, SchedulingCycle.Trigger.MANUAL)
    reconcile(cluster.pk)
    job.refresh_from_db()
    return job


def pods(kube: KubeCluster) -> dict[str, str]:
    """Return the node of each live Pod with its namespace."""
    return {
        pod["spec"].get("nodeName", ""): pod["metadata"]["namespace"]
        for pod in kube.store.all()[0]
        if pod["status"]["phase"] in ("Pending", "Running")
    }


# --- Connecting -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("shared")
def test_each_cluster_has_its_share_of_the_nodes(east: Cluster, west: Cluster) -> None:
    follow(east, west)

    assert (names(east), names(west)) == ({"node-1", "node-2"}, {"node-3", "node-4"})
    assert len(set(Connection.objects.values_list("engine_id", flat=True))) == 1
    assert warnings(east) == warnings(west) == []


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ((A,), (B, "pool=b"), "has no node selector, so it uses all nodes"),
        ((A, "pool=a"), (B,), "this connection would use the same nodes"),
        ((A,), (B,), "this connection would use the same nodes"),
        ((A, "pool=a"), (A, "pool=b"), "choose another namespace"),
        ((A, "pool=a"), (B, "pool=a"), "also matches nodes of cluster east: node-1, node-2"),
        ((A, "pool=a"), (B, "kubernetes.io/hostname=node-2"), "of cluster east: node-2"),
    ],
)
def test_a_second_connection_without_nodes_of_its_own_is_refused(
    kube: KubeCluster, east: Cluster, west: Cluster, first: tuple[str, ...],
    second: tuple[str, ...], complaint: str,
) -> None:  # fmt: skip
    connect(kube, east, *first)

    with pytest.raises(Conflict, match=complaint):
        connections.probe(west, route(kube, *second))
    with pytest.raises(Conflict, match=complaint):
        connect(kube, west, *second)

    assert Connection.objects.get().cluster == east


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("selector", "complaint"),
    [((), "this connection would use the same nodes"), (("pool=b",), "nodes of cluster west")],
)
def test_a_connection_cannot_be_changed_to_nodes_of_another_cluster(
    kube: KubeCluster, east: Cluster, selector: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(Conflict, match=complaint):
        connect(kube, east, A, *selector)

    reconcile(east.pk)
    assert names(east) == {"node-1", "node-2"}


def test_nodes_are_not_shared_out_without_the_right_to_list_them(
    kube: KubeCluster, east: Cluster, west: Cluster
) -> None:
    role = [d for d in manifests() if d["kind"] != "ClusterRole"]
    identity = {"kind": "ClusterRole", "metadata": {}, "rules": [
        {"resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]},
    ]}  # fmt: skip
    text = [{**d, "metadata": {**d["metadata"], "namespace": A}} for d in role]
    kube.accounts.append(Account.of("blind", "blind", [*text, identity]))
    connections.connect(
        east, actor="olga", route=replace(route(kube, A), credentials={"token": "blind"})
    )

    with pytest.raises(Conflict, match="uses all nodes"):
        connect(kube, west, B, "pool=b")


@pytest.mark.usefixtures("shared")
def test_a_cluster_that_is_disconnected_leaves_its_nodes_to_the_other(
    kube: KubeCluster, east: Cluster, west: Cluster
) -> None:
    connections.disconnect(east, actor="olga")
    for name in ("node-1", "node-2"):
        label(kube, name, "b")

    reconcile(west.pk)

    assert names(west) == {"node-1", "node-2", "node-3", "node-4"}


def test_nodes_that_people_gave_are_not_taken_for_those_of_the_engine(
    kube: KubeCluster, acme: Organization, east: Cluster
) -> None:
    """A node of the same name does not count as the engine's before the cluster is connected."""
    specs = [NodeSpec(name, Capacity(1000, 1024, 0)) for name in ("node-1", "node-4")]
    rack = cluster_services.create(actor="alice", organization=acme, name="rack", specs=specs)
    connect(kube, east, A, "pool=a")

    connect(kube, rack, B, "pool=b")

    assert (names(east), names(rack)) == ({"node-1", "node-2"}, {"node-3", "node-4"})


# --- Labels that change later ---------------------------------------------------------------------


@pytest.fixture
def overlapping(kube: KubeCluster, east: Cluster, west: Cluster) -> None:
    """East selects `pool=a`, west selects `also=b`; no node has both labels yet."""
    for node in kube.nodes[2:]:
        node.labels["also"] = "b"
    connect(kube, east, A, "pool=a")
    connect(kube, west, B, "also=b")


@pytest.mark.usefixtures("overlapping")
@pytest.mark.parametrize(("name", "holder"), [("node-1", "east"), ("node-3", "west")])
def test_a_node_that_both_match_stays_with_the_cluster_that_had_it_first(
    kube: KubeCluster, east: Cluster, west: Cluster, name: str, holder: str
) -> None:
    both_labels(kube, name)

    for each in (east, west, east, west):
        reconcile(each.pk)

    assert (names(east), names(west)) == ({"node-1", "node-2"}, {"node-3", "node-4"})
    told, other = (west, east) if holder == "east" else (east, west)
    assert warnings(other) == []
    (warning,) = warnings(told)
    assert f"Node {name} also matches the node selector of cluster {holder}" in warning


@pytest.mark.usefixtures("overlapping")
def test_the_warning_ends_with_the_overlap(kube: KubeCluster, east: Cluster, west: Cluster) -> None:
    both_labels(kube, "node-1")
    reconcile(west.pk)
    before = warnings(west)

    del kube.nodes[0].labels["also"]
    reconcile(west.pk)

    assert (len(before), warnings(west)) == (1, [])


@pytest.mark.usefixtures("overlapping")
def test_a_new_node_that_both_match_is_taken_by_the_first_that_sees_it(
    kube: KubeCluster, east: Cluster, west: Cluster
) -> None:
    kube.nodes.append(kube_api.Node("node-5", labels={"pool": "a", "also": "b"}))

    follow(west, east)

    assert (names(east), names(west)) == ({"node-1", "node-2"}, {"node-3", "node-4", "node-5"})
    assert "node-5" in warnings(east)[0]


@pytest.mark.usefixtures("overlapping")
def test_a_connection_with_an_overlap_can_still_get_new_credentials(
    kube: KubeCluster, east: Cluster, west: Cluster
) -> None:
    both_labels(kube, "node-1")
    reconcile(west.pk)

    connect(kube, west, B, "also=b")

    assert names(west) == {"node-3", "node-4"}


@pytest.mark.usefixtures("shared")
def test_a_node_changes_its_cluster_when_nothing_of_the_former_is_on_it(
    kube: KubeCluster, east: Cluster, west: Cluster, submit: Submit
) -> None:
    job = start(submit, east)
    assert job.node is not None
    name = job.node.name

    label(kube, name, "b")
    for each in (east, west, east):
        reconcile(each.pk)
    meanwhile = names(east), names(west)
    (warning,) = warnings(west)

    services.stop(job, actor="olga")

    def has_moved() -> bool:
        follow(east, west)
        return name in names(west)

    wait_until(has_moved, "the node has changed its cluster", seconds=20)
    assert name in meanwhile[0]
    assert name not in meanwhile[1]
    assert f"Node {name} still belongs to cluster east" in warning
    assert name not in names(east)
    assert warnings(west) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("overlapping")
def test_two_clusters_that_see_a_new_node_at_once_do_not_both_take_it(
    kube: KubeCluster, east: Cluster, west: Cluster
) -> None:
    kube.nodes.append(kube_api.Node("node-5", labels={"pool": "a", "also": "b"}))
    seen = driver_of(fresh(east)).nodes()
    assert seen is not None

    def of_west() -> None:
        reconcile(west.pk)
        databases.close_all()

    thread = threading.Thread(target=of_west)
    with transaction.atomic():
        engine_nodes.sync(east, list(seen), actor="system:runtime", now=timezone.now())
        thread.start()
        wait_until(_waits_for_the_engine, "west waits for the nodes of east", seconds=20)
    thread.join()

    assert "node-5" in names(east)
    assert "node-5" not in names(west)
    assert "node-5" in warnings(west)[0]


def _waits_for_the_engine() -> bool:
    with database.cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return cursor.fetchone() is not None


def test_two_connections_that_are_made_at_once_do_not_share_a_node(
    kube: KubeCluster, east: Cluster, west: Cluster
) -> None:
    """The check is repeated under the engine's lock."""
    connect(kube, east, A, "pool=a")
    found = connections.probe(west, route(kube, B, "pool=b"))
    label(kube, "node-3", "a")
    reconcile(east.pk)
    assert found.nodes is not None

    with pytest.raises(Conflict, match="node-3"), transaction.atomic():
        connect(kube, west, B, "kubernetes.io/hostname=node-3")


# --- Running --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shared")
def test_each_cluster_runs_its_pods_in_its_namespace_on_its_nodes(
    kube: KubeCluster, east: Cluster, west: Cluster, submit: Submit
) -> None:
    for each in (east, east, west, west):
        start(submit, each)

    def all_run() -> bool:
        follow(east, west)
        return len(pods(kube)) == 4 and "" not in pods(kube)

    wait_until(all_run, "all run", seconds=20)
    assert pods(kube) == {"node-1": A, "node-2": A, "node-3": B, "node-4": B}
    assert list(violations()) == []


@pytest.mark.usefixtures("shared")
def test_a_pod_of_the_other_cluster_on_my_node_is_foreign(
    kube: KubeCluster, east: Cluster, west: Cluster, submit: Submit
) -> None:
    start(submit, west, cpu_milli=3000, ram_mib=1024)

    def runs() -> bool:
        reconcile(west.pk)
        return "" not in pods(kube) and bool(pods(kube))

    wait_until(runs, "it runs", seconds=20)
    (pod,) = kube.store.all()[0]
    key = pod["metadata"]["namespace"], pod["metadata"]["name"]
    kube.store.update(key, lambda pod: pod["spec"].update(nodeName="node-1"))

    reconcile(east.pk)

    node = east.nodes.get(name="node-1")
    assert (node.cpu_milli, node.foreign["cpu_milli"]) == (5000, 3000)


@pytest.mark.usefixtures("shared")
def test_each_cluster_has_a_marker_in_its_namespace_and_is_claimed_by_itself(
    kube: KubeCluster, east: Cluster, west: Cluster
) -> None:
    follow(east, west)
    markers = {each.pk: driver_of(fresh(each)).markers() for each in (east, west)}

    assert all(markers.values())
    assert markers[east.pk] != markers[west.pk]

    # Another copy of the installation claims the engine of one.
    former = Connection.objects.get(cluster=east).marker
    driver_of(fresh(east)).mark(
        Connection.objects.get(cluster=west).uid, instead_of=[former] if former else []
    )
    follow(east, west)

    assert [Connection.objects.get(cluster=each).unclaimed for each in (east, west)] == [
        True, False,
    ]  # fmt: skip
    assert ownership.objection(only_engine(fresh(west)), driver_of(fresh(west))) == ""


@pytest.mark.usefixtures("shared")
def test_verify_names_a_node_that_belongs_to_two_clusters(east: Cluster, west: Cluster) -> None:
    twin = east.nodes.get(name="node-1")
    twin.pk, twin.cluster = None, west
    twin.save()

    found = [text for text in violations() if "node-1" in str(text)]

    assert found
    assert f"clusters {east.pk} and {west.pk}" in str(found[0])
