"""Submit deployments: one or many, all of them or none.

The number of statements does not grow with the number of deployments.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from django.db import transaction
from django.db.models import Count, Max
from django.db.models.base import ModelState
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster, Node
from clusters.wakeups import request_cycle
from deployments import dependencies, waiting
from deployments.arrays.elements import ArraySpec, elements_of
from deployments.arrays.elements import check as check_array
from deployments.bounds import check_bounds, counted_up_to, forget, limits_of
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.environment import completed
from deployments.insertion import insert, insert_at_once
from deployments.lifecycle import record_wait_reasons
from deployments.models import Array, Dependency, Deployment
from deployments.specs import Spec, check_fits, check_image
from hypervisor.base.errors import DomainError, Invalid, NotFound
from hypervisor.base.prepared import Prepared
from orgs.events import record_many
from orgs.models import Event, Membership, Organization, Role
from orgs.permissions import first_memberships, organization_for, roles_of
from orgs.services import protect_organizations

_nodes_of_each_shape = Prepared(
    lambda organization: Node.objects.filter(cluster__organization=organization).of_each_shape(),
    related="cluster",
)
_nodes_of_only_organization = Prepared(
    lambda user: Node.objects.filter(
        cluster__organization=Membership.objects.filter(user=user)
        .order_by()
        .values("user")
        .annotate(number=Count("pk"), only=Max("organization"))
        .filter(number=1)
        .values("only")[:1]
    ).of_each_shape(),
    related="cluster",
)
READ_WITH_CALLER = (first_memberships, _nodes_of_only_organization)
"""What a submission of a user of one organization reads, by the id of the user."""

_SUBMITS = Role.DEVELOPER
"""The least role that submits deployments."""

Fields = Mapping[str, Any]
"""The validated fields of one deployment."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A deployment to submit, or an array of them, and the organization that it is for.

    `path` is where the request describes it: "deployments.3" in a bulk, "" if it is the request.
    The name of the field in an error begins with it.
    """

    organization: Organization
    spec: Spec
    path: str = ""
    array: ArraySpec | None = None

    @property
    def size(self) -> int:
        return self.array.size if self.array else 1


def submits_to(user: User) -> list[int]:
    """Return the ids of the organizations to which the user may submit deployments."""
    return [pk for pk, role in roles_of(user).items() if role.rank >= _SUBMITS.rank]


def authorize(user: User, rows: Mapping[str, Fields]) -> list[Entry]:
    """Return the entries to submit for validated fields, given by their path in the request.

    Raises NotFound for an organization or a cluster that the user cannot see, Forbidden if the user
    may not submit there, and Invalid if cluster and organization contradict each other, or if an
    array is not possible.
    """
    clusters = _visible_clusters(user, rows.values())
    together = sum(row["array"].size for row in rows.values() if row.get("array"))

    @cache
    def allowed(organization_id: int | None) -> Organization:
        return organization_for(user, organization_id, _SUBMITS)

    entries = []
    for path, row in rows.items():
        with _at(path):
            cluster = _cluster_of(row, clusters)
            organization = allowed(_organization_id_of(row, cluster))
            spec, array = Spec.from_fields(row, cluster), row.get("array")
            if array:
                check_array(array, spec.name, spec.env, together=together)
            entries.append(Entry(organization, spec, path, array))
    return entries


def cluster_of_change(user: User, deployment: Deployment, row: Fields) -> Cluster | None:
    """Return the cluster that the deployment requests after a change, for its validated fields.

    Raises NotFound if the user cannot see it, and Invalid if it is one of another organization.
    """
    if "requested_cluster_id" not in row:
        return deployment.requested_cluster
    cluster = _cluster_of(row, _visible_clusters(user, [row]))
    if cluster and cluster.organization_id != deployment.organization_id:
        raise Invalid(
            f"Cluster {cluster.pk} belongs to another organization: name a cluster of"
            f" organization {deployment.organization_id}.",
            attr="requested_cluster",
        )
    return cluster


def submit_many(
    *, created_by: User, entries: Sequence[Entry], bounded: bool = True
) -> list[Deployment]:
    """Queue new deployments, and return them in the order of the entries: of arrays, the first.

    Raises Invalid for a deployment that no node available to it could hold and for a wrong
    dependency, NotFound for a deleted cluster, and Conflict if too many deployments are pending.
    """
    is_plain = bounded and not any(each.spec.depends_on or each.array for each in entries)
    rows = _submit_at_once(created_by, entries) if is_plain else None
    rows = rows or _submit_in_steps(created_by, entries, bounded=bounded)
    for pk in sorted({row.organization_id for row in rows}):
        request_cycle(pk)
    return rows


def _submit_at_once(created_by: User, entries: Sequence[Entry]) -> list[Deployment] | None:
    """Submit with one message to the database, or return None.

    That is possible while the limits are far, and if nothing is wrong: what is wrong is reported by
    the submission in steps, in its order.
    """
    limits = limits_of(created_by.pk, {entry.organization.pk for entry in entries})
    up_to = counted_up_to(limits)
    if up_to is None:
        return None
    nodes = _nodes_read_ahead(created_by, {entry.organization.pk for entry in entries})
    try:
        rows = _rows(created_by, entries, nodes)
    except DomainError:
        return None
    if insert_at_once(rows, actor=created_by.username, limits=limits, up_to=up_to):
        return rows
    forget(limits)
    return None


@transaction.atomic
def _submit_in_steps(
    created_by: User, entries: Sequence[Entry], *, bounded: bool
) -> list[Deployment]:
    adding: Counter[int] = Counter()
    for entry in entries:
        adding[entry.organization.pk] += entry.size
    if bounded:
        check_bounds(created_by.pk, adding)
    protect_organizations(adding)
    for pk in sorted({entry.organization.pk for entry in entries if entry.spec.depends_on}):
        dependencies.lock_graph(pk)
    _protect_clusters(entries)
    rows = _rows(created_by, entries, {})
    groups = [_elements(row, each, created_by) for row, each in zip(rows, entries, strict=True)]
    _store(groups, entries, created_by)
    return [group[0] for group in groups]


def _elements(row: Deployment, entry: Entry, created_by: User) -> list[Deployment]:
    """Return the rows to insert for an entry; of an array, store the array itself."""
    if entry.array is None:
        return [row]
    array = Array.objects.create(
        organization=entry.organization,
        name=row.name,
        size=entry.array.size,
        at_once=entry.array.at_once,
        created_by=created_by,
    )
    return elements_of(row, array)


def _nodes_read_ahead(user: User, organizations: Collection[int]) -> dict[int, list[Node]]:
    """Return the nodes that were read with the caller, by organization."""
    nodes = user.read_ahead.take(_nodes_of_only_organization)
    owners = {node.cluster.organization_id for node in nodes or ()}
    return {pk: nodes for pk in owners if nodes} if owners == set(organizations) else {}


def _rows(
    created_by: User, entries: Sequence[Entry], known_nodes: Mapping[int, list[Node]]
) -> list[Deployment]:
    """Return the rows to insert. A cycle is impossible: nothing waits for a new deployment."""
    organizations = {entry.organization.pk for entry in entries}
    nodes = {pk: known_nodes.get(pk) or _nodes_of_each_shape(pk) for pk in organizations}
    known = _organizations_of({w.deployment for e in entries for w in e.spec.depends_on})
    rows = []
    defaults = {f.attname: f.get_default() for f in Deployment._meta.concrete_fields}
    for entry in entries:
        with _at(entry.path):
            check_fits(nodes[entry.organization.pk], entry.spec)
            rows.append(_row(created_by, entry, defaults))
            _check_waits(entry, known)
    return rows


def _row(created_by: User, entry: Entry, defaults: Fields) -> Deployment:
    """Return the row to insert.

    Raises Invalid for a secret without a value and for a malformed image.
    """
    spec = entry.spec
    if spec.env:
        spec = replace(spec, env=completed(spec.env, {}))
    check_image(spec.image)
    given = spec.columns()
    cluster = given.pop("requested_cluster")
    given |= {
        "organization_id": entry.organization.pk,
        "created_by_id": created_by.pk,
        "requested_cluster_id": cluster and cluster.pk,
        "status_reason": waiting.NEXT_CYCLE,
        "status_code": "submitted",
    }
    # Django takes many times as long to set each attribute.
    row = Deployment.__new__(Deployment)
    vars(row).update(defaults, **given, _state=ModelState())
    return row


def _protect_clusters(entries: Sequence[Entry]) -> None:
    """Lock the requested clusters against deletion. Raises NotFound if one does not exist."""
    named = [(e.path, e.spec.requested_cluster) for e in entries if e.spec.requested_cluster]
    existing = Cluster.objects.protect({cluster.pk for _, cluster in named}) if named else set()
    for path, cluster in named:
        with _at(path):
            if cluster.pk not in existing:
                raise NotFound(f"Cluster {cluster.pk} does not exist.", attr="requested_cluster")


def _store(groups: Sequence[list[Deployment]], entries: Sequence[Entry], created_by: User) -> None:
    """Insert the rows of each entry, with their dependencies and events."""
    rows = [row for group in groups for row in group]
    insert(rows)
    waits = {
        row: e.spec.depends_on for group, e in zip(groups, entries, strict=True) for row in group
    }
    reasons = _store_dependencies(waits) if any(waits.values()) else {}
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


def _store_dependencies(waits: Mapping[Deployment, Sequence[Wait]]) -> dict[int, str]:
    """Store dependencies; return the reasons of the deployments that do not compete yet, by id."""
    Dependency.objects.bulk_create(
        Dependency(deployment=row, on_id=wait.deployment, condition=wait.condition)
        for row, depends_on in waits.items()
        for wait in depends_on
    )
    found = waiting.obstacles(list(waits), timezone.now())
    record_wait_reasons({pk: (obstacle.code, obstacle.reason) for pk, obstacle in found.items()})
    for row in waits:
        if obstacle := found.get(row.pk):
            row.status_code, row.status_reason = obstacle.code, obstacle.reason
    return {pk: obstacle.reason for pk, obstacle in found.items()}


def _visible_clusters(user: User, rows: Collection[Fields]) -> dict[int, Cluster]:
    """Return the clusters that the rows name and the user can see, by id."""
    named = {row["requested_cluster_id"] for row in rows} - {None}
    return Cluster.objects.visible_to(user).in_bulk(named) if named else {}


def _cluster_of(row: Fields, visible: Mapping[int, Cluster]) -> Cluster | None:
    wanted = row["requested_cluster_id"]
    if wanted is None:
        return None
    if wanted not in visible:
        raise NotFound(
            f"Cluster {wanted} does not exist: name a cluster of one of your organizations.",
            attr=row["cluster_field"],
        )
    return visible[wanted]


def _organization_id_of(row: Fields, cluster: Cluster | None) -> int | None:
    """Return the id of the row's organization, which it may name directly or by its cluster."""
    named: int | None = row.get("organization_id")
    if cluster is None:
        return named
    if named not in (None, cluster.organization_id):
        raise Invalid(
            f"Cluster {cluster.pk} belongs to another organization: leave `organization` out.",
            attr="organization",
        )
    return cluster.organization_id


def _organizations_of(deployments: set[int]) -> dict[int, int]:
    """Return the organization of each existing deployment, by id."""
    if not deployments:
        return {}
    rows = Deployment.objects.filter(pk__in=deployments)
    return dict(rows.values_list("pk", "organization"))


def _check_waits(entry: Entry, known: Mapping[int, int]) -> None:
    """Raise Invalid for a dependency that is unknown in the organization or is named twice."""
    ids = [wait.deployment for wait in entry.spec.depends_on]
    dependencies.check_known(ids, {pk for pk in ids if known.get(pk) == entry.organization.pk})


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Prefix the field that an error names with the entry's path."""
    try:
        yield
    except DomainError as error:
        error.attr = ".".join(filter(None, (path, error.attr))) or None
        raise
