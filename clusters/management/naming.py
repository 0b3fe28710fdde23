"""How commands name clusters."""

from django.core.management.base import CommandError

from accounts.numbers import whole
from clusters.models import Cluster

ACTOR = "system:console"
"""Whoever may run commands on the service's machine."""


def cluster_named(text: str) -> Cluster:
    """Return the cluster with that id or name. Raises CommandError unless there is exactly one."""
    clusters = Cluster.objects.select_related("organization")
    pk = whole(text)
    found = list(clusters.filter(name=text) if pk is None else clusters.filter(pk=pk))
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(f"There is no cluster {text}.")
    choices = ", ".join(f"{cluster.pk} ({cluster.organization})" for cluster in found)
    raise CommandError(f"{len(found)} clusters are named {text}. Give the id: {choices}.")
