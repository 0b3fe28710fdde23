"""Many deployments at once, all of them or none; the statements do not grow with their number."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from clusters.wakeups import request_cycle
from deployments import dependencies, waiting
from deployments.bounds import check_bounds
from deployments.environment import completed
from deployments.lifecycle import note_reasons
from deployments.models import Dependency, Deployment, Status
from deployments.services import new_deployment
from deployments.specs import Spec, check_fits
from hypervisor.base.errors import DomainError, Invalid, NotFound
from orgs.events import record_many
from orgs.models import Event, Organization, Role
from orgs.permissions import organization_for, require
from orgs.services import protect_organizations


@dataclass(frozen=True, slots=True)
class Entry:
    """One of the deployments asked for, and the organization that it is for."""

    organization: Organization
    spec: Spec


def authorize(user: User, rows: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Return what the validated rows ask for, of somebody who may ask for it.

    Raises what a single submission would, naming the row at fault.
    """
    named = {row["requested_cluster_id"] for row in rows} - {None}
    clusters = {c.pk: c for c in Cluster.objects.visible_to(user).filter(pk__in=named)}

    @cache
    def allowed(organization_id: int | None) -> Organization:
        organization = organization_for(user, organization_id)
        require(user, organization.pk, Role.DEVELOPER)
        return organization

    entries = []
    for number, row in enumerate(rows):
        with _at(number):
            cluster = _cluster(clusters, row)
            wanted = cluster.organization_id if cluster else row.get("organization_id")
            entries.append(Entry(allowed(wanted), Spec.from_fields(row, cluster)))
    return entries


@transaction.atomic
def submit(*, created_by: User, entries: Sequence[Entry]) -> list[Deployment]:
    """Queue new deployments. Raises what `services.submit` would, naming the entry at fault."""
    adding = Counter(entry.organization.pk for entry in entries)
    check_bounds(created_by.pk, adding)
    organizations = sorted(adding)
    protect_organizations(organizations)
    if any(entry.spec.depends_on for entry in entries):
        for pk in organizations:
            dependencies.lock_graph(pk)
    _protect_clusters(entries)
    clusters: dict[int, list[Cluster]] = {pk: [] for pk in organizations}
    for cluster in Cluster.objects.filter(organization__in=organizations):
        clusters[cluster.organization_id].append(cluster)
    known = _organizations_of({w.deployment for e in entries for w in e.spec.depends_on})
    rows = []
    for number, entry in enumerate(entries):
        with _at(number):
            spec = replace(entry.spec, env=completed(entry.spec.env, {}))
            check_fits(clusters[entry.organization.pk], spec)
            _check_waits(entry, known)
            rows.append(new_deployment(created_by, entry.organization, spec))
    _store(rows, entries, created_by)
    for pk in organizations:
        request_cycle(pk)
    return rows


def _protect_clusters(entries: Sequence[Entry]) -> None:
    """Keep the clusters that are asked for. Raises NotFound when one does not exist any more."""
    named = [entry.spec.requested_cluster for entry in entries]
    there = Cluster.objects.protect({cluster.pk for cluster in named if cluster})
    for number, cluster in enumerate(named):
        with _at(number):
            if cluster and cluster.pk not in there:
                raise NotFound(f"Cluster {cluster.pk} does not exist.", attr="requested_cluster")


def _store(rows: list[Deployment], entries: Sequence[Entry], created_by: User) -> None:
    Deployment.objects.bulk_create(rows)
    Dependency.objects.bulk_create(
        Dependency(deployment=row, on_id=wait.deployment, condition=wait.condition)
        for row, entry in zip(rows, entries, strict=True)
        for wait in entry.spec.depends_on
    )
    reasons = _say_what_they_wait_for(rows)
    record_many(
        [
            Event(
                organization_id=row.organization_id,
                subject=Event.Subject.DEPLOYMENT,
                subject_id=row.pk,
                kind="submitted",
                actor=created_by.username,
                reason=reasons.get(row.pk, ""),
                status=Status.PENDING,
            )
            for row in rows
        ]
    )


def _say_what_they_wait_for(rows: Sequence[Deployment]) -> dict[int, str]:
    found = waiting.obstacles(rows, timezone.now())
    note_reasons({pk: (obstacle.code, obstacle.reason) for pk, obstacle in found.items()})
    for row in rows:
        if obstacle := found.get(row.pk):
            row.status_code, row.status_reason = obstacle.code, obstacle.reason
    return {pk: obstacle.reason for pk, obstacle in found.items()}


def _cluster(clusters: Mapping[int, Cluster], row: Mapping[str, Any]) -> Cluster | None:
    wanted = row["requested_cluster_id"]
    if wanted is None:
        return None
    if wanted not in clusters:
        raise NotFound(f"Cluster {wanted} does not exist.", attr="requested_cluster")
    if row.get("organization_id") not in (None, clusters[wanted].organization_id):
        raise Invalid(
            f"Cluster {wanted} belongs to another organization: leave `organization` out.",
            attr="organization",
        )
    return clusters[wanted]


def _organizations_of(deployments: set[int]) -> dict[int, int]:
    """Return the organization of each of the deployments that exist, by id."""
    rows = Deployment.objects.filter(pk__in=deployments)
    return dict(rows.values_list("pk", "organization"))


def _check_waits(entry: Entry, known: Mapping[int, int]) -> None:
    """Raise Invalid for a wrong dependency; a circle cannot be, as nothing waits for new ones."""
    ids = [wait.deployment for wait in entry.spec.depends_on]
    dependencies.check_known(ids, {pk for pk in ids if known.get(pk) == entry.organization.pk})


@contextmanager
def _at(number: int) -> Iterator[None]:
    """Say of which entry an error tells."""
    try:
        yield
    except DomainError as error:
        error.attr = ".".join(filter(None, ("deployments", str(number), error.attr)))
        raise
