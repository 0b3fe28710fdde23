"""What the demo has made, found again: its people and their password, and how to remove it all."""

from base64 import urlsafe_b64encode
from contextlib import suppress

from django.db import transaction
from django.db.models import Q
from django.utils.crypto import salted_hmac

from accounts.models import User
from deployments import services as deployment_services
from deployments.models import OCCUPYING, Deployment, Status
from hypervisor.base.errors import Conflict
from hypervisor.demo import workshop
from hypervisor.demo.company import TEAMS
from orgs import services as org_services
from orgs.models import Organization, Role

_ACTOR = "system:demo"
_OWNERS = {team.name: team.people[0] for team in TEAMS} | {workshop.NAME: workshop.OWNER}
_PEOPLE = [name for team in TEAMS for name in team.people] + [workshop.OWNER]


def password() -> str:
    """Return the password of the demo's people: the same one as long as SECRET_KEY is the same."""
    digest = salted_hmac("hypervisor.demo.company", "password", algorithm="sha256").digest()
    return urlsafe_b64encode(digest[:9]).decode()


def people() -> list[User]:
    """Return those that the demo has registered: nobody who only has the name of one."""
    emails = [f"{name}@example.org" for name in _PEOPLE]
    rows = User.objects.filter(username__in=_PEOPLE, email__in=emails, is_staff=False)
    return list(rows.order_by("pk"))


def set_password(users: list[User]) -> bool:
    """Give the people the demo's password again where they have another; return whether any had."""
    others = [user for user in users if not user.check_password(password())]
    for user in others:
        user.set_password(password())
        user.save(update_fields=["password"])
    return bool(others)


def organizations() -> list[Organization]:
    """Return the demo's organizations: those of its names that its people own."""
    owned = Q()
    for name, owner in _OWNERS.items():
        owned |= Q(
            name=name,
            memberships__user__username=owner,
            memberships__user__email=f"{owner}@example.org",
            memberships__role=Role.OWNER,
        )
    return list(Organization.objects.filter(owned).order_by("pk").distinct())


def stop_all() -> bool:
    """Stop and cancel what is in these organizations; return whether nothing is left to end."""
    live = Deployment.objects.filter(
        organization__in=organizations(), status__in=[Status.PENDING, *OCCUPYING]
    )
    for deployment in live.exclude(status=Status.STOPPING).order_by("pk"):
        # A cycle may place one, or it may end, between our look and the change.
        with suppress(Conflict):
            if deployment.status == Status.PENDING:
                deployment_services.cancel(deployment, actor=_ACTOR)
            else:
                deployment_services.stop(deployment, actor=_ACTOR)
    return not live.exists()


@transaction.atomic
def remove() -> None:
    """Remove the organizations and the people. Raises Conflict, and changes nothing, if it cannot.

    Somebody of the demo who is a member elsewhere, or owns something there, is in the way.
    """
    gone = organizations()
    users = people()
    for user in users:
        elsewhere = user.memberships.exclude(organization__in=gone).select_related("organization")
        if there := elsewhere.first():
            raise Conflict(
                f"{user.username} is a member of {there.organization}, which the demo has not made:"
                " remove the member there first."
            )
    for organization in gone:
        org_services.delete(organization, actor=_ACTOR)
    User.objects.filter(pk__in=[user.pk for user in users]).delete()
