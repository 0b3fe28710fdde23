"""Which nodes are lost, according to each place that says so."""

from datetime import timedelta

from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from clusters.models import Cluster, Connection, Node
from tests.support.reconcile import reconcile


def lost_nodes(cluster: Cluster, api: APIClient, console: Client) -> set[str]:
    """Return the lost nodes; the REST filter, the admin's filter and the page have to agree."""
    answer = api.get(f"/clusters/{cluster.pk}/nodes", {"state": "lost"})
    by_rest = {row["name"] for row in answer.data["results"]}
    query = {"state__exact": "lost", "cluster__id__exact": str(cluster.pk)}
    listed = console.get(reverse("admin:clusters_node_changelist"), query).context["cl"].queryset
    page = console.get(reverse("cluster", args=[cluster.pk]))
    shown = {row.node.name for row in page.context["nodes"] if row.node.state == Node.State.LOST}
    assert by_rest == {node.name for node in listed} == shown
    assert {row["state"] for row in answer.data["results"]} <= {"lost"}
    return by_rest


def silent_for_a_minute(cluster: Cluster) -> None:
    """Reconcile a cluster whose engine does not answer, as if it had been silent for a minute."""
    reconcile(cluster.pk)
    since = timezone.now() - timedelta(seconds=60)
    Connection.objects.filter(cluster=cluster).exclude(lost_contact_at=None).update(
        lost_contact_at=since
    )
    reconcile(cluster.pk)
