"""Every cluster becomes one node, also while the former release deletes clusters."""

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest
from django.db import connection, transaction

from clusters.models import Cluster, Node
from orgs.models import Organization
from tests.support.docker_engine import wait_until

ADD_NODES = import_module("clusters.migrations.0014_one_node_each").ADD_NODES


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_is_deleted_at_the_same_time_leaves_no_node(
    acme: Organization, forge: Cluster
) -> None:
    def delete() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM clusters_cluster WHERE id = %s", [forge.pk])
        finally:
            connection.close()

    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    forge.nodes.all().delete()
    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(ADD_NODES)
            deletion = pool.submit(delete)
            wait_until(lambda: deletion.done() or is_waiting(), "the deletion waits or is done")
        deletion.result()

    assert not Cluster.objects.exists()
    assert not Node.objects.exists()
