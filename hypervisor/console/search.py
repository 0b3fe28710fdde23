"""What an operator finds by a name or an id, of what the operator may view."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.db.models import Case, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import User
from clusters.models import Cluster, Node
from deployments.choices import ENDED
from deployments.models import Deployment
from hypervisor.base.numbers import whole
from orgs.models import Organization

SHORTEST = 2
"""Fewer characters are only an id: nearly every name contains them."""

NAMES_READ = 100_000
"""The names of so many of the newest rows are read; an id finds older ones too."""


@dataclass(frozen=True, slots=True)
class Hit:
    name: str
    note: str
    href: str


@dataclass(frozen=True, slots=True)
class Found:
    """The first hits of one kind; `all_of_them` leads to its list, filtered by the same text."""

    title: str
    hits: list[Hit]
    more: bool
    all_of_them: str


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    rows: Callable[[], QuerySet[Any]]
    names: tuple[str, ...]
    hit: Callable[[Any], Hit]

    @property
    def model(self) -> Any:
        return self.rows().model


def search(request: HttpRequest, text: str, most: int) -> list[Found]:
    """Return what has the text in its name or as its id: `most` of each kind, the exact first."""
    text = text.strip()
    return list(_found(request, text, most)) if text else []


def _found(request: HttpRequest, text: str, most: int) -> Iterator[Found]:
    for kind in _KINDS:
        if not admin.site.get_model_admin(kind.model).has_view_permission(request):
            continue
        rows = _matches(kind, text, most + 1)
        if rows:
            opts = kind.model._meta
            page = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
            hits = [kind.hit(row) for row in rows[:most]]
            yield Found(kind.title, hits, len(rows) > most, page)


def _matches(kind: _Kind, text: str, most: int) -> list[Any]:
    """Return the row with the id, then those with the name, then those that contain the text."""
    number = whole(text)
    by_id = list(kind.rows().filter(pk=number)) if number is not None else []
    if len(text) < SHORTEST:
        return by_id
    exact = Q(**{f"{kind.names[0]}__iexact": text})
    containing = reduce(or_, (Q(**{f"{name}__icontains": text}) for name in kind.names))
    rows = _newest(kind.rows()).filter(containing).exclude(pk__in=[row.pk for row in by_id])
    order = Case(When(exact, then=0), default=1)
    return [*by_id, *rows.order_by(order, *rows.query.order_by)[: most - len(by_id)]]


def _newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Leave out the beginning of a long history, of which the names are not read."""
    newest = rows.model.objects.order_by("-pk").values("pk")[:1]
    return rows.filter(pk__gt=Coalesce(Subquery(newest), 0) - NAMES_READ)


def _deployments() -> QuerySet[Deployment]:
    return Deployment.objects.select_related("organization").defer("env", "command").order_by("-pk")


def _deployment(row: Deployment) -> Hit:
    state = "on hold" if row.held and row.status not in ENDED else row.status
    note = f"{row.pk}, {state}, {row.organization}"
    return Hit(row.name, note, reverse("admin:deployments_deployment_change", args=[row.pk]))


def _cluster(row: Cluster) -> Hit:
    return Hit(row.name, f"{row.state}, {row.organization}", reverse("cluster", args=[row.pk]))


def _node(row: Node) -> Hit:
    note = f"{row.state}, {row.cluster.name}, {row.cluster.organization}"
    return Hit(row.name, note, reverse("admin:clusters_node_change", args=[row.pk]))


def _organization(row: Organization) -> Hit:
    return Hit(row.name, str(row.pk), reverse("admin:orgs_organization_change", args=[row.pk]))


def _person(row: User) -> Hit:
    note = ", ".join(part for part in (row.get_full_name(), row.email) if part)
    return Hit(row.username, note, reverse("admin:accounts_user_change", args=[row.pk]))


_KINDS = (
    _Kind("Deployments", _deployments, ("name",), _deployment),
    _Kind(
        "Clusters",
        lambda: Cluster.objects.select_related("organization").order_by("name", "pk"),
        ("name",),
        _cluster,
    ),
    _Kind(
        "Nodes",
        lambda: Node.objects.select_related("cluster__organization").order_by("name", "pk"),
        ("name",),
        _node,
    ),
    _Kind("Organizations", lambda: Organization.objects.order_by("name"), ("name",), _organization),
    _Kind(
        "Users",
        lambda: User.objects.order_by("username"),
        ("username", "email", "first_name", "last_name"),
        _person,
    ),
)
