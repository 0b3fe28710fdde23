"""Roles, and the organization that a request means."""

import re

import pytest
from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from hypervisor.base.errors import Forbidden, Invalid, NotFound
from orgs.models import Membership, Organization, Role
from orgs.permissions import organization_for, require, role_of
from tests.support.factories import MembershipFactory

pytestmark = pytest.mark.django_db

UNKNOWN = 10**9


def test_each_role_outranks_the_next() -> None:
    ranks = [role.rank for role in (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.VIEWER)]

    assert ranks == sorted(set(ranks), reverse=True)


def test_a_role_includes_the_rights_of_lower_roles(acme: Organization, bob: User) -> None:
    assert require(bob, acme.pk, Role.VIEWER) is Role.DEVELOPER
    assert require(bob, acme.pk, Role.DEVELOPER) is Role.DEVELOPER
    with pytest.raises(Forbidden, match="admin or higher; yours is developer"):
        require(bob, acme.pk, Role.ADMIN)


def test_a_stranger_gets_the_error_for_an_unknown_organization(
    acme: Organization, charlie: User
) -> None:
    with pytest.raises(NotFound) as strange:
        role_of(charlie, acme.pk)
    with pytest.raises(NotFound) as unknown:
        role_of(charlie, UNKNOWN)

    assert strange.value.detail.replace(str(acme.pk), str(UNKNOWN)) == unknown.value.detail


def test_an_anonymous_caller_sees_nothing(acme: Organization) -> None:
    assert not Organization.objects.visible_to(AnonymousUser()).exists()
    with pytest.raises(NotFound):
        role_of(AnonymousUser(), acme.pk)


def test_an_operator_of_the_platform_is_not_a_member(acme: Organization, olga: User) -> None:
    assert not Organization.objects.visible_to(olga).exists()


def test_a_member_of_one_organization_need_not_name_it(acme: Organization, bob: User) -> None:
    assert organization_for(bob, None, Role.VIEWER) == acme


def test_a_member_of_several_organizations_has_to_name_one(acme: Organization, bob: User) -> None:
    other: Membership = MembershipFactory(user=bob)

    assert organization_for(bob, other.organization_id, Role.VIEWER) == other.organization
    with pytest.raises(Invalid, match="several") as refused:
        organization_for(bob, None, Role.VIEWER)
    assert refused.value.attr == "organization"
    assert f"{acme.pk} (Acme), {other.organization_id} ({other.organization.name})." in str(
        refused.value
    )


def test_an_error_lists_only_the_first_ten_organizations(bob: User) -> None:
    mine = sorted(m.organization_id for m in MembershipFactory.create_batch(11, user=bob))

    with pytest.raises(Invalid) as refused:
        organization_for(bob, None, Role.VIEWER)

    listed = [int(number) for number in re.findall(r"(\d+) \(", refused.value.detail)]
    assert listed == mine[:10]
    assert refused.value.detail.endswith(" and others.")


def test_a_role_that_is_too_low_is_refused(acme: Organization, bob: User) -> None:
    with pytest.raises(Forbidden, match="admin or higher; yours is developer"):
        organization_for(bob, None, Role.ADMIN)


def test_a_user_without_an_organization_learns_how_to_join_one(charlie: User) -> None:
    with pytest.raises(Invalid, match="invite code"):
        organization_for(charlie, None, Role.VIEWER)


def test_a_stranger_s_organization_cannot_be_named(acme: Organization, charlie: User) -> None:
    with pytest.raises(NotFound):
        organization_for(charlie, acme.pk, Role.VIEWER)


def test_an_organization_with_many_members_is_listed_once(acme: Organization, alice: User) -> None:
    MembershipFactory.create_batch(3, organization=acme)

    assert list(Organization.objects.visible_to(alice)) == [acme]
