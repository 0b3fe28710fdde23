"""A cluster uses only the Nodes of Kubernetes that its node selector matches."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry
from clusters import connections, drivers
from clusters.connections import Route
from clusters.models import Cluster, Connection
from deployments.models import Deployment
from hypervisor.base.errors import Invalid
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.support.docker_engine import wait_until
from tests.support.kube_api import KubeCluster, Node
from tests.support.kubernetes import IMAGE, NAMESPACE, UNTIL_ASKED
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

POOL_A = ("pool=a",)


@pytest.fixture
def kube(kube: KubeCluster, monkeypatch: pytest.MonkeyPatch) -> KubeCluster:
    """Three nodes: `node-1` and `node-2` of pool a, `node-3` of pool b."""
    monkeypatch.setattr(drivers, "_drivers", {})
    kube.nodes.append(Node("node-3"))
    for node, pool in zip(kube.nodes, "aab", strict=True):
        node.labels["pool"] = pool
    return kube


def route(kube: KubeCluster, *selector: str) -> Route:
    return Route(
        "kubernetes", kube.url, namespace=NAMESPACE, credentials={"token": "a-token"},
        node_selector=selector,
    )  # fmt: skip


def states(cluster: Cluster) -> dict[str, str]:
    assert list(violations()) == []
    return dict(cluster.nodes.values_list("name", "state"))


def started(submit: Submit, cluster: Cluster) -> Deployment:
    job = submit(image=IMAGE, command=UNTIL_ASKED, cpu_milli=8000, ram_mib=16384)
    step(cluster)
    job.refresh_from_db()
    assert job.cluster == cluster
    return job


def step(cluster: Cluster) -> None:
    run_cycle(cluster.organization_id, SchedulingCycle.Trigger.MANUAL)
    reconcile(cluster.pk)


def test_only_the_nodes_that_it_matches_become_the_cluster_s(
    kube: KubeCluster, rack: Cluster
) -> None:
    kube.occupy(kube.nodes[2], cpu="1")

    found = connections.probe(rack, route(kube, *POOL_A))
    connections.connect(rack, actor="olga", route=route(kube, *POOL_A))
    reconcile(rack.pk)

    assert (found.cpu_milli, found.warnings) == (16000, ())
    assert states(rack) == {"node-1": "active", "node-2": "active"}


def test_all_of_several_labels_have_to_match(kube: KubeCluster, rack: Cluster) -> None:
    kube.nodes[1].labels["zone"] = "x"

    connections.connect(rack, actor="olga", route=route(kube, "pool=a", "zone=x"))

    assert states(rack) == {"node-2": "active"}


@pytest.mark.parametrize(
    ("selector", "complaint"),
    [
        ("pool=c", "pool=c selects nothing: no node has these labels"),
        ("pool", "'pool' is not of the form KEY=VALUE"),
        ("pool=a b", "'a b' is not a label's value"),
        ("-=a", "'-' is not a label's name"),
    ],
)
def test_a_selector_that_is_wrong_or_matches_nothing_is_refused(
    kube: KubeCluster, rack: Cluster, selector: str, complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        connections.connect(rack, actor="olga", route=route(kube, selector))

    assert not Connection.objects.exists()


def test_one_label_cannot_have_two_values(kube: KubeCluster, rack: Cluster) -> None:
    with pytest.raises(Invalid, match="pool cannot be a and b at once"):
        connections.probe(rack, route(kube, "pool=a", "pool=b"))


def test_a_node_joins_and_leaves_with_its_label(kube: KubeCluster, rack: Cluster) -> None:
    connections.connect(rack, actor="olga", route=route(kube, *POOL_A))

    kube.nodes[2].labels["pool"] = "a"
    kube.nodes[0].labels["pool"] = "b"
    reconcile(rack.pk)

    assert states(rack) == {"node-2": "active", "node-3": "active"}


def test_a_node_that_leaves_is_cordoned_until_nothing_is_on_it(
    kube: KubeCluster, rack: Cluster, submit: Submit
) -> None:
    connections.connect(rack, actor="olga", route=route(kube, *POOL_A))
    job = started(submit, rack)
    assert job.node is not None
    node = next(node for node in kube.nodes if node.name == job.node.name)

    node.labels["pool"] = "b"
    reconcile(rack.pk)
    meanwhile = states(rack)[node.name]
    message = rack.nodes.get(name=node.name).engine_message
    running = Deployment.objects.get(pk=job.pk).status

    kube.delete((NAMESPACE, kube.store.all()[0][0]["metadata"]["name"]))

    def is_gone() -> bool:
        step(rack)
        return node.name not in states(rack)

    wait_until(is_gone, "the node has left", seconds=20)
    assert (meanwhile, running) == ("cordoned", "running")
    assert "node selector of the connection does not match it any more" in message


def test_the_last_node_stays_although_it_is_not_matched_any_more(
    kube: KubeCluster, rack: Cluster
) -> None:
    connections.connect(rack, actor="olga", route=route(kube, "pool=b"))

    kube.nodes[2].labels.clear()
    reconcile(rack.pk)

    assert states(rack) == {"node-3": "cordoned"}


def test_another_selector_changes_the_nodes_of_a_connected_cluster(
    kube: KubeCluster, rack: Cluster, acme: Organization
) -> None:
    connections.connect(rack, actor="olga", route=route(kube))
    before = states(rack)

    connections.connect(rack, actor="olga", route=route(kube, "pool=b"))

    assert before.keys() == {"node-1", "node-2", "node-3"}
    assert states(rack) == {"node-3": "active"}


def test_the_quota_goes_to_the_nodes_that_are_matched(
    kube: KubeCluster, rack: Cluster, submit: Submit
) -> None:
    connections.connect(rack, actor="olga", route=route(kube, *POOL_A))
    job = started(submit, rack)
    assert job.node is not None

    kube.quotas[NAMESPACE] = {"requests.cpu": "8"}
    next(node for node in kube.nodes if node.name == job.node.name).labels["pool"] = "b"
    reconcile(rack.pk)

    other = rack.nodes.exclude(name=job.node.name).get()
    assert other.cpu_milli == 8000


def test_the_command_and_the_page_take_the_selector(
    kube: KubeCluster, rack: Cluster, console: Client, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("a-token")
    arguments = ["connect_cluster", "rack", "--kubernetes", "--namespace", NAMESPACE]
    arguments += ["--server", kube.url, "--token", str(token)]

    def command(*options: str) -> list[str]:
        call_command(*arguments, *options, stdout=StringIO())
        return list(Connection.objects.get(cluster=rack).node_selector)

    given = command("--node-selector", "pool=a,kubernetes.io/hostname=node-1")
    kept = command()
    cleared = command("--node-selector", "")

    assert given == kept == ["pool=a", "kubernetes.io/hostname=node-1"]
    assert cleared == []

    page = reverse("admin:clusters_cluster_connect", args=[rack.pk])
    fields = {"step": "look", "engine": "kubernetes", "namespace": NAMESPACE, "token": "a-token"}
    answer = console.post(page, fields | {"endpoint": kube.url, "node_selector": "pool=b"})
    sealed = answer.context["sealed"]
    console.post(page, {"step": "connect", "engine": "kubernetes", "sealed": sealed})

    assert states(rack) == {"node-3": "active"}
    assert "pool=b" in console.get(page).content.decode()


def test_a_changed_selector_is_in_the_audit_trail_of_the_connection(
    kube: KubeCluster, rack: Cluster
) -> None:
    connections.connect(rack, actor="olga", route=route(kube, *POOL_A))
    connections.connect(rack, actor="olga", route=replace(route(kube), node_selector=("pool=b",)))

    entry = AuditEntry.objects.filter(model="clusters.connection").latest("pk")
    assert "node_selector" in str(entry.__dict__)
