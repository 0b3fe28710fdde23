"""Limits on pending deployments, for each user and for each organization."""

from collections.abc import Mapping
from functools import partial

from deployments.models import Deployment
from hypervisor.base import bounds
from hypervisor.base.bounds import Bound


def check_bounds(user_id: int | None, adding: Mapping[int, int], *, lock: bool = True) -> None:
    """Raise Conflict if adding this many pending deployments, by organization, exceeds a limit."""
    of_user = Bound(
        "MAX_PENDING_PER_USER",
        user_id or 0,
        Deployment.objects.pending().filter(created_by=user_id),
        partial(_refusal, "this user"),
        sum(adding.values()),
    )
    of_organizations = [
        Bound(
            "MAX_PENDING_PER_ORGANIZATION",
            organization_id,
            Deployment.objects.pending().filter(organization=organization_id),
            partial(_refusal, f"organization {organization_id}"),
            count,
        )
        for organization_id, count in sorted(adding.items())
    ]
    bounds.check([of_user, *of_organizations] if user_id else of_organizations, lock=lock)


def _refusal(whose: str, count: str, bound: str) -> str:
    return (
        f"{count} deployments of {whose} are pending, and the limit is {bound}: submit fewer, wait"
        " until some of them run, or cancel some."
    )
