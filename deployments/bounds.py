"""How many deployments may be pending: of one user, and in one organization."""

from collections.abc import Mapping
from functools import partial

from deployments.models import Deployment
from hypervisor.base import bounds
from hypervisor.base.bounds import Bound


def check_bounds(user_id: int | None, adding: Mapping[int, int], *, lock: bool = True) -> None:
    """Raise Conflict when so many more, by organization, would be too many."""
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


def _refusal(whose: str, there: str, bound: str) -> str:
    return (
        f"{there} deployments of {whose} are pending, and at most {bound} may be: submit fewer,"
        " wait until some of them run, or cancel some."
    )
