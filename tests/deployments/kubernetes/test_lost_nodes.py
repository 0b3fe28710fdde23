"""Nodes of Kubernetes that are lost: one that is not ready, and all without the API server."""

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster, Connection
from orgs.models import Event
from tests.fixtures.people import ClientFor
from tests.support.docker_engine import wait_until
from tests.support.kube_api import KubeCluster
from tests.support.kubernetes import UNTIL_ASKED, spec
from tests.support.lost_nodes import lost_nodes, silent_for_a_minute
from tests.support.reconcile import driver_of, reconcile

pytestmark = pytest.mark.django_db

BOTH = {"node-1", "node-2"}


def test_a_node_that_is_not_ready_is_lost_everywhere(
    kube: KubeCluster, east: Cluster, alice: User, client_for: ClientFor, console: Client
) -> None:
    kube.silence(kube.nodes[0])
    reconcile(east.pk)
    meanwhile = lost_nodes(east, client_for(alice), console)
    kube.nodes[0].answers = True
    reconcile(east.pk)

    assert (meanwhile, lost_nodes(east, client_for(alice), console)) == ({"node-1"}, set())


def test_all_nodes_are_lost_while_the_api_server_does_not_answer(
    kube: KubeCluster, east: Cluster, alice: User, client_for: ClientFor, console: Client
) -> None:
    kube.nodes[1].unschedulable = True
    reconcile(east.pk)
    Connection.objects.filter(cluster=east).update(endpoint="http://127.0.0.1:1")
    silent_for_a_minute(east)
    meanwhile = lost_nodes(east, client_for(alice), console)

    Connection.objects.filter(cluster=east).update(endpoint=kube.url)
    reconcile(east.pk)

    assert meanwhile == BOTH
    assert lost_nodes(east, client_for(alice), console) == set()
    assert dict(east.nodes.values_list("name", "state")) == {
        "node-1": "active", "node-2": "cordoned",
    }  # fmt: skip


def test_all_nodes_stay_lost_while_unknown_containers_run_there(
    kube: KubeCluster, east: Cluster, alice: User, client_for: ClientFor, console: Client
) -> None:
    driver_of(east).start(spec(9, *UNTIL_ASKED), timezone.now())

    def is_blocked() -> bool:
        reconcile(east.pk)
        return Connection.objects.get(cluster=east).is_blocked

    wait_until(is_blocked, "it runs", seconds=10)
    reconcile(east.pk)
    meanwhile = lost_nodes(east, client_for(alice), console)
    changes = Event.objects.filter(kind__in=("node_lost", "node_active")).count()
    reconcile(east.pk)

    assert meanwhile == BOTH
    assert Event.objects.filter(kind__in=("node_lost", "node_active")).count() == changes
