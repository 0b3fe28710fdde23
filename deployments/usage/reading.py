from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, Sum

from clusters.capacity import Capacity
from clusters.models import DIMENSIONS, Cluster
from deployments.choices import ACTIVE, Status
from deployments.models import Deployment
from orgs.models import Organization

MOST_USERS = 100
"""How many users are listed."""

_IS_ACTIVE = Q(status__in=ACTIVE)


@dataclass(frozen=True, slots=True)
class Share:
    """The deployments of one user: how many are active and pending, and what they have.

    `id` and `username` are None for the deployments of users who have been deleted.
    """

    id: int | None
    username: str | None
    active: int
    pending: int
    allocated: Capacity

    @property
    def rank(self) -> tuple[int, ...]:
        gpus, cores = self.allocated.gpu, self.allocated.cpu_milli
        return -gpus, -cores, -self.pending, self.id or 0


@dataclass(frozen=True, slots=True)
class Usage:
    """The sums over an organization; `users` are those with the most GPUs, then the most CPU."""

    organization: int
    capacity: Capacity
    allocated: Capacity
    active: int
    pending: int
    users: Sequence[Share]


def read(organization: Organization) -> Usage:
    """Return what the organization has and uses."""
    shares = sorted(_shares(organization), key=lambda share: share.rank)
    clusters = Cluster.objects.filter(organization=organization).values_list(*DIMENSIONS)
    return Usage(
        organization=organization.pk,
        capacity=Capacity.total(Capacity(*row) for row in clusters),
        allocated=Capacity.total(share.allocated for share in shares),
        active=sum(share.active for share in shares),
        pending=sum(share.pending for share in shares),
        users=shares[:MOST_USERS],
    )


def _shares(organization: Organization) -> list[Share]:
    """Return the share of each user with live deployments, in one statement."""
    user = "created_by", "created_by__username"
    live = Deployment.objects.filter(organization=organization).live().order_by()
    sums: dict[str, Any] = {
        "active": Count("pk", filter=_IS_ACTIVE),
        "waiting": Count("pk", filter=Q(status=Status.PENDING)),
        **{f"active_{name}": Sum(name, filter=_IS_ACTIVE, default=0) for name in DIMENSIONS},
    }
    rows: Any = live.values(*user).annotate(**sums).values_list(*user, *sums)
    return [
        Share(pk, username, active, waiting, Capacity(*amounts))
        for pk, username, active, waiting, *amounts in rows
    ]
