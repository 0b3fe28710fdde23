"""Deployments of former members: how many there are, and a new submitter for them."""

from django.db import transaction
from django.db.models import Count

from accounts.models import User
from deployments.models import Array, Deployment
from hypervisor.base.errors import Conflict, Invalid
from orgs.events import record_many
from orgs.models import Event, Membership, Organization, Role


def left_by(organization_id: int, user_id: int) -> dict[str, int]:
    """Count the user's deployments that have not ended, by status."""
    rows = Deployment.objects.live().filter(organization=organization_id, created_by=user_id)
    counts = rows.order_by("status").values_list("status").annotate(Count("pk"))
    return dict(counts)


@transaction.atomic
def hand_over(organization: Organization, *, actor: str, from_user: int, to_user: int) -> int:
    """Make another member the submitter of the user's deployments that have not ended, and of
    their arrays.

    Returns the number of deployments. Raises Invalid unless the other member may submit
    deployments.
    """
    member = Membership.objects.filter(organization=organization, user=to_user).first()
    if member is None or Role(member.role).rank < Role.DEVELOPER.rank:
        raise Invalid(
            f"User {to_user} is not a developer of {organization.name}: name a member who may"
            " submit deployments.",
            attr="to_user",
        )
    if from_user == to_user:
        raise Invalid("Name a user other than `from_user`.", attr="to_user")
    rows = Deployment.objects.live().filter(organization=organization, created_by=from_user)
    ids = list(rows.locked().values_list("pk", flat=True))
    if not ids:
        raise Conflict(
            f"User {from_user} has no deployments in {organization.name} that have not ended: check"
            " `from_user`."
        )
    Deployment.objects.filter(pk__in=ids).update(created_by=to_user)
    Array.objects.filter(elements__in=ids, created_by=from_user).update(created_by=to_user)
    _record(organization, ids, actor, from_user, to_user)
    return len(ids)


def _record(
    organization: Organization, ids: list[int], actor: str, from_user: int, to_user: int
) -> None:
    names = dict(User.objects.filter(pk__in=[from_user, to_user]).values_list("pk", "username"))
    reason = f"Handed over from {names[from_user]} to {names[to_user]}."
    record_many(
        [
            Event(
                organization=organization,
                subject=Event.Subject.DEPLOYMENT,
                subject_id=pk,
                kind="handed_over",
                actor=actor,
                reason=reason,
                data={"created_by": [from_user, to_user]},
            )
            for pk in ids
        ]
    )
