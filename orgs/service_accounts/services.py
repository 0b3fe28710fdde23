"""Add and delete service accounts, each atomic and with one event."""

import re

from django.db import transaction

from accounts.models import User
from accounts.services import add_service_user, update_user
from accounts.usernames import service_name
from hypervisor.base import bounds
from hypervisor.base.bounds import Bound
from hypervisor.base.errors import Conflict, Invalid
from orgs.events import record
from orgs.models import Organization, Role, ServiceAccount
from orgs.permissions import check_authority, role_of

NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
"""Lower case, because usernames are unique whatever their case."""


@transaction.atomic
def create(organization: Organization, *, by: User, name: str, role: Role) -> ServiceAccount:
    """Add a service account with a role below that of the member who adds it.

    Raises Invalid for the role owner, Forbidden if the role is not below, Conflict if the name is
    in use or the organization has too many. An account that was deleted comes back under its name,
    without its tokens.
    """
    if role is Role.OWNER:
        raise Invalid(
            "A service account is never an owner: give admin, developer or viewer.", attr="role"
        )
    bounds.check([_bound(organization)])
    organization = Organization.objects.get_locked(organization.pk)
    check_authority(role_of(by, organization.pk), role)
    if organization.service_accounts.filter(name=name).exists():
        raise Conflict(
            f"{organization.name} already has a service account {name}: choose another name.",
            attr="name",
            code="unique",
        )
    user = add_service_user(service_name(name, organization.pk))
    organization.memberships.create(user=user, role=role)
    account = ServiceAccount.objects.create(
        organization=organization, user=user, name=name, created_by=by
    )
    reason = f"Service account {name} was added as {role}."
    data = {"service_account": account.pk, "user": user.pk, "role": role}
    record(organization, "service_account_added", by.username, reason, data)
    return account


def close(user: User) -> None:
    """Deactivate the user of a service account, which is no longer a member."""
    ServiceAccount.objects.filter(user=user).delete()
    update_user(user, {"is_active": False})


def close_all(organization: Organization) -> None:
    """Deactivate the users of all service accounts of an organization that is deleted."""
    for account in organization.service_accounts.select_related("user"):
        close(account.user)


def _bound(organization: Organization) -> Bound:
    return Bound(
        "MAX_SERVICE_ACCOUNTS_PER_ORGANIZATION",
        organization.pk,
        ServiceAccount.objects.filter(organization=organization),
        lambda there, bound: (
            f"{organization.name} has {there} service accounts, and an organization may have no"
            f" more than {bound}: delete one."
        ),
    )
