"""What the pages offer for a node is what the services accept, for every kind of node."""

from collections.abc import Callable

import pytest
from django.contrib.messages import get_messages
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from clusters import node_rules, nodes
from clusters.capacity import Capacity
from clusters.models import Cluster, Connection, Node
from deployments.choices import Status
from hypervisor.base.errors import DomainError
from scheduling.insight.operator_actions import ACTIONS, Needs
from tests.fixtures.deployments import Bring

pytestmark = pytest.mark.django_db

Kind = Callable[[Cluster], None]

NODE_ACTIONS = [action for action in ACTIONS.values() if action.model is Node]


def several_nodes(cluster: Cluster) -> None:
    pass


def one_node(cluster: Cluster) -> None:
    cluster.nodes.last().delete()  # type: ignore[union-attr]
    nodes.keep_sums(cluster)


def on_one_machine(cluster: Cluster) -> None:
    one_node(cluster)
    _connect(cluster, "docker", reports_nodes=False)


def reported_by_the_engine(cluster: Cluster) -> None:
    _connect(cluster, "kubernetes", reports_nodes=True)


def _connect(cluster: Cluster, driver: str, *, reports_nodes: bool) -> None:
    Connection.objects.create(
        cluster=cluster, endpoint="engine", engine_id="one", probed_at=timezone.now(),
        reports_nodes=reports_nodes, cpu_milli=4000, ram_mib=8192, gpu=2,
    )  # fmt: skip
    Cluster.objects.filter(pk=cluster.pk).update(driver=driver)


KINDS = [several_nodes, one_node, on_one_machine, reported_by_the_engine]


def put(node: Node, chosen: str, engine: str) -> None:
    message = {"lost": "It is not ready.", "cordoned": "It is cordoned there."}
    node.chosen_state, node.engine_state = chosen, engine
    node.engine_message = message.get(engine, "")
    node.settle()
    node.save()


def first_row(console: Client, cluster: Cluster) -> tuple[list[str], str]:
    """Return the actions that the cluster's page offers for its first node, and the page."""
    answer = console.get(reverse("cluster", args=[cluster.pk]))
    return [action.name for action in answer.context["nodes"][0].actions], answer.content.decode()


def accepted(node: Node) -> set[str]:
    """Return the actions that change something on the node and that the services accept."""
    found = set()
    for action in NODE_ACTIONS:
        capacity = {"capacity": Capacity(3000, 4096, 1)} if action.needs == Needs.CAPACITY else {}
        before = Node.objects.values().get(pk=node.pk)
        with transaction.atomic():
            try:
                action.verb(Node.objects.get(pk=node.pk), actor="olga", **capacity)
                if Node.objects.values().get(pk=node.pk) != before:
                    found.add(action.name)
            except DomainError:
                pass
            transaction.set_rollback(True)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chosen", ["active", "cordoned", "draining"])
@pytest.mark.parametrize("engine", ["active", "cordoned", "lost"])
def test_a_page_offers_what_the_service_does(
    console: Client, rack: Cluster, kind: Kind, chosen: str, engine: str
) -> None:
    kind(rack)
    node = rack.nodes.all()[0]
    put(node, chosen, engine)

    offered, _ = first_row(console, rack)

    assert sorted(offered) == sorted(accepted(node))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_s_page_offers_what_the_services_do(
    console: Client, rack: Cluster, kind: Kind
) -> None:
    kind(rack)
    resize = {"capacity": Capacity(3000, 4096, 1)}

    answer = console.get(reverse("cluster", args=[rack.pk]))

    possible = []
    for action in (ACTIONS["resize"], ACTIONS["declare_lost"]):
        with transaction.atomic():
            try:
                options = resize if action.needs else {}
                action.verb(Cluster.objects.get(pk=rack.pk), actor="olga", **options)
                possible.append(action.name)
            except DomainError:
                pass
            transaction.set_rollback(True)
    offered = [action.name for action in answer.context["steps"]]
    assert [name for name in offered if name in ("resize", "declare_lost")] == possible


@pytest.mark.parametrize("kind", KINDS)
def test_adding_a_node_is_offered_where_it_can_be_added(
    console: Client, rack: Cluster, kind: Kind
) -> None:
    kind(rack)
    rack.refresh_from_db()
    add = reverse("admin:clusters_node_add")

    _, page = first_row(console, rack)
    console.post(add, {"cluster": rack.pk, "name": "more", "cpu_milli": 1, "ram_mib": 1, "gpu": 0})

    added = rack.nodes.filter(name="more").exists()
    assert (f'href="{add}?cluster={rack.pk}"' in page) == added
    assert added or node_rules.adding(rack) in page


def test_the_page_says_why_a_node_of_the_engine_cannot_be_changed(
    console: Client, rack: Cluster
) -> None:
    reported_by_the_engine(rack)
    first, second = rack.nodes.all()
    put(first, "cordoned", "cordoned")
    put(second, "active", "lost")

    _, page = first_row(console, rack)

    assert page.count("are those of its engine (Kubernetes): change them there") == 1
    assert "It is cordoned there." in page
    assert "Node gpu-1 is cordoned by its engine" in page
    assert "Node gpu-2 is lost" in page


def test_the_form_of_a_reported_node_changes_nothing_and_says_why(
    console: Client, rack: Cluster
) -> None:
    reported_by_the_engine(rack)
    node = rack.nodes.all()[0]
    form = reverse("admin:clusters_node_change", args=[node.pk])

    page = console.get(form).content.decode()

    assert "change them there" in page
    assert 'name="name"' not in page
    assert 'name="labels"' not in page
    assert reverse("admin:clusters_node_delete", args=[node.pk]) not in page


def test_an_action_that_needs_a_form_is_refused_before_it_is_filled_in(
    console: Client, rack: Cluster
) -> None:
    reported_by_the_engine(rack)
    node = rack.nodes.all()[0]

    answer = console.get(f"{reverse('preview', args=['resize_node'])}?id={node.pk}")

    assert answer.status_code == 302
    (message,) = get_messages(answer.wsgi_request)
    assert "change them there" in str(message)


def test_a_move_offers_only_nodes_that_take_deployments(
    console: Client, rack: Cluster, bring: Bring
) -> None:
    job = bring(Status.RUNNING)
    put(rack.nodes.all()[0], "cordoned", "active")

    answer = console.get(f"{reverse('preview', args=['move'])}?id={job.pk}")

    offered = [node.name for node in answer.context["form"].fields["node"].queryset]
    assert offered == ["forge", "gpu-2"]
