"""Finds the demo's organizations and users, shows their password, and removes them."""

from base64 import urlsafe_b64encode
from contextlib import suppress

from django.db import transaction
from django.db.models import Q
from django.utils.crypto import salted_hmac

from accounts.models import User
from deployments import services as deployment_services
from deployments.choices import OCCUPYING, Status
from deployments.models import Deployment
from hypervisor.base.errors import Conflict
from hypervisor.demo import workshop
from hypervisor.demo.company import TEAMS
from orgs import services as org_services
from orgs.models import Organization, Role

_ACTOR = "system:demo"
_OWNERS = {team.name: team.people[0] for team in TEAMS} | {workshop.NAME: workshop.OWNER}
_PEOPLE = [name for team in TEAMS for name in team.people] + [workshop.OWNER]


def password() -> str:
    """Return the password of the demo's users, which depends only on SECRET_KEY."""
    digest = salted_hmac("hypervisor.demo.company", "password", algorithm="sha256").digest()
    return urlsafe_b64encode(digest[:9]).decode()


def people() -> list[User]:
    """Return the users that the demo registered, but not others with such a name."""
    emails = [f"{name}@example.org" for name in _PEOPLE]
    rows = User.objects.filter(username__in=_PEOPLE, email__in=emails, is_staff=False)
    return list(rows.order_by("pk"))


def set_password(users: list[User]) -> bool:
    """Reset the users' passwords to the demo's; return whether any had another password."""
    others = [user for user in users if not user.check_password(password())]
    for user in others:
        user.set_password(password())
        user.save(update_fields=["password"])
    return bool(others)


def organizations() -> list[Organization]:
    """Return the demo's organizations: those with its names whose owners are its users."""
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
    """Stop or cancel the deployments of the demo; return whether all of them have ended."""
    live = Deployment.objects.filter(
        organization__in=organizations(), status__in=[Status.PENDING, *OCCUPYING]
    )
    for deployment in live.exclude(status=Status.STOPPING).order_by("pk"):
        # Between the query and the change, a cycle may place the deployment, or it may end.
        with suppress(Conflict):
            if deployment.status == Status.PENDING:
                deployment_services.cancel(deployment, actor=_ACTOR)
            else:
                deployment_services.stop(deployment, actor=_ACTOR)
    return not live.exists()


@transaction.atomic
def remove() -> None:
    """Remove the organizations and the users.

    Raises Conflict, and changes nothing, if a user of the demo is a member of another organization.
    """
    gone = organizations()
    users = people()
    for user in users:
        elsewhere = user.memberships.exclude(organization__in=gone).select_related("organization")
        if there := elsewhere.first():
            raise Conflict(
                f"{user.username} is a member of {there.organization}, which does not belong to"
                " the demo: remove the member there first."
            )
    for organization in gone:
        org_services.delete(organization, actor=_ACTOR)
    User.objects.filter(pk__in=[user.pk for user in users]).delete()
