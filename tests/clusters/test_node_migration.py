"""Every cluster becomes one node, also while the former release changes clusters."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest
from django.db import connection, transaction

from clusters.models import Cluster, Node
from orgs.models import Organization
from tests.support.docker_engine import wait_until
from tests.support.locks import is_any_lock_awaited

ADD_NODES = import_module("clusters.migrations.0014_one_node_each").ADD_NODES


def run_during(transaction_of: Callable[[], object], other: Callable[[], object]) -> None:
    """Run the other in a session of its own before the first, which has done its work, commits."""

    def in_session() -> None:
        try:
            other()
        finally:
            connection.close()

    with ThreadPoolExecutor() as pool:
        with transaction.atomic():
            transaction_of()
            done = pool.submit(in_session)
            wait_until(lambda: done.done() or is_any_lock_awaited(), "the other waits or is done")
        done.result()


def execute(statement: str, *values: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_is_deleted_at_the_same_time_leaves_no_node(
    acme: Organization, forge: Cluster
) -> None:
    forge.nodes.all().delete()
    run_during(
        lambda: execute(ADD_NODES),
        lambda: execute("DELETE FROM clusters_cluster WHERE id = %s", forge.pk),
    )
    assert not Cluster.objects.exists()
    assert not Node.objects.exists()


@pytest.mark.parametrize("is_resized_first", [True, False])
@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_is_resized_at_the_same_time_has_a_node_of_the_new_size(
    acme: Organization, forge: Cluster, is_resized_first: bool
) -> None:
    def resize() -> None:
        execute("UPDATE clusters_cluster SET gpu = 7 WHERE id = %s", forge.pk)

    def add_nodes() -> None:
        execute(ADD_NODES)

    forge.nodes.all().delete()
    run_during(*((resize, add_nodes) if is_resized_first else (add_nodes, resize)))
    assert forge.nodes.get().gpu == 7
