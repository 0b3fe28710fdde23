"""Statements of the former release, which does not know nodes, leave them right."""

import pytest
from django.db import connection, transaction

from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from clusters.nodes import NodeSpec
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.insight.verify import violations
from tests.fixtures.deployments import Bring, Submit
from tests.support.factories import make_cluster

pytestmark = pytest.mark.django_db


def sql(statement: str, *parameters: int | str) -> None:
    """Execute the statement as a transaction of its own would, with its deferred triggers."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def insert_cluster(organization: Organization, name: str) -> Cluster:
    sql(
        "INSERT INTO clusters_cluster"
        " (cpu_milli, ram_mib, gpu, organization_id, name, state, driver, created_at)"
        " VALUES (4000, 8192, 1, %s, %s, 'active', 'simulated', now())",
        organization.pk, name,
    )  # fmt: skip
    return Cluster.objects.latest("pk")


@pytest.mark.parametrize(
    "name",
    ["rack-1", "Rack 1", "  a__b  ", "Öfen № 7", "日本", "-", "x" * 100, "a" * 62 + " b", "1.2"],
)
def test_a_cluster_without_nodes_gets_one_of_its_size_named_as_the_service_names_it(
    acme: Organization, name: str
) -> None:
    cluster = insert_cluster(acme, name)

    node = cluster.nodes.get()
    assert (node.cpu_milli, node.ram_mib, node.gpu) == (4000, 8192, 1)
    assert (node.state, node.labels) == ("active", {})
    assert node.name == NodeSpec.only(name, Capacity.of(cluster)).name
    assert list(violations()) == []


def test_a_cluster_of_the_service_keeps_its_nodes(acme: Organization) -> None:
    make_cluster(acme, "rack")

    sql("SELECT 1")

    assert Node.objects.count() == 1


def test_the_only_node_is_resized_with_its_cluster(forge: Cluster) -> None:
    sql("UPDATE clusters_cluster SET cpu_milli = 5, ram_mib = 6, gpu = 7 WHERE id = %s", forge.pk)

    node = forge.nodes.get()
    assert (node.cpu_milli, node.ram_mib, node.gpu) == (5, 6, 7)


def test_a_cluster_is_deleted_with_its_nodes(acme: Organization) -> None:
    cluster = insert_cluster(acme, "spare")

    sql("DELETE FROM clusters_cluster WHERE id = %s", cluster.pk)

    assert not Node.objects.exists()


def test_a_cluster_whose_runs_have_ended_is_deleted(forge: Cluster, bring: Bring) -> None:
    run = bring(Status.STOPPED).runs.get()
    assert run.node is not None
    sql("UPDATE deployments_run SET ended_at = now()")

    sql("UPDATE deployments_run SET cluster_id = NULL WHERE cluster_id = %s", forge.pk)
    sql("DELETE FROM clusters_cluster WHERE id = %s", forge.pk)

    run.refresh_from_db()
    assert (run.cluster_id, run.node_id) == (None, None)


def test_a_placement_without_a_node_is_on_the_only_one(forge: Cluster, submit: Submit) -> None:
    deployment = submit()

    place(deployment, forge)

    deployment.refresh_from_db()
    assert deployment.node == forge.nodes.get() == deployment.runs.get().node


def test_a_move_without_a_node_takes_the_only_one_of_its_target(
    acme: Organization, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)
    anvil = make_cluster(acme, "anvil")

    sql("UPDATE deployments_deployment SET cluster_id = %s WHERE id = %s", anvil.pk, deployment.pk)

    deployment.refresh_from_db()
    assert deployment.node == anvil.nodes.get()


def test_a_deployment_that_leaves_its_cluster_leaves_the_node(bring: Bring) -> None:
    deployment = bring(Status.RUNNING)

    sql(
        "UPDATE deployments_deployment SET status = 'pending', cluster_id = NULL WHERE id = %s",
        deployment.pk,
    )

    deployment.refresh_from_db()
    assert deployment.node is None


def test_of_several_nodes_none_is_guessed(forge: Cluster, submit: Submit) -> None:
    Node.objects.create(cluster=forge, name="second", cpu_milli=1, ram_mib=1)
    deployment = submit()

    place(deployment, forge)

    deployment.refresh_from_db()
    assert deployment.node is None


def place(deployment: Deployment, cluster: Cluster) -> None:
    """Place the deployment as the former release's cycle does."""
    with transaction.atomic():
        sql(
            "UPDATE deployments_deployment SET status = 'starting', cluster_id = %s WHERE id = %s",
            cluster.pk, deployment.pk,
        )  # fmt: skip
        sql(
            "INSERT INTO deployments_run"
            " (deployment_id, cluster_id, cpu_milli, ram_mib, gpu, placed_at, outcome)"
            " SELECT id, cluster_id, cpu_milli, ram_mib, gpu, now(), ''"
            " FROM deployments_deployment WHERE id = %s",
            deployment.pk,
        )
