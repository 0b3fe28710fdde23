"""What ends API tokens, and what the audit trail has of them."""

import pytest
from django.core.management import call_command
from pytest_django import Settings

from accounts import services as people
from accounts.models import AuditEntry, User
from orgs import services as organizations
from orgs.models import ApiToken, Organization
from orgs.tokens.grants import Scope
from tests.fixtures.log_in import LogIn
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.tokens import bearer, client_with, token_of

pytestmark = pytest.mark.django_db


def test_the_audit_trail_has_each_token_and_its_end_without_the_digest(
    alice: User, client_for: ClientFor
) -> None:
    client = client_for(alice)
    made = client.post("/tokens", {"name": "ci", "scopes": ["read"]}).json()
    client.delete(f"/tokens/{made['id']}")

    entries = AuditEntry.objects.filter(model="orgs.apitoken").order_by("pk")
    assert [(entry.operation, entry.name) for entry in entries] == [
        ("INSERT", "ci"),
        ("DELETE", "ci"),
    ]
    assert "digest" not in str([(entry.before, entry.after) for entry in entries])


def test_the_trail_names_the_user_of_the_token(alice: User, acme: Organization) -> None:
    client_with(alice).patch(f"/organizations/{acme.pk}", {"name": "Acme 2"})

    assert AuditEntry.objects.get(model="orgs.organization", operation="UPDATE").actor == alice


@pytest.mark.parametrize("way", ["service", "command"])
def test_a_new_password_revokes_all_tokens(alice: User, bob: User, way: str) -> None:
    mine, theirs = token_of(alice)[1], token_of(bob)[1]

    if way == "service":
        alice.set_password("four horses, nine carts")
        people.replace_password(alice)
    else:
        alice.set_password("four horses, nine carts")
        alice.save()

    refusal(bearer(mine).get("/me"), 401)
    assert bearer(theirs).get("/me").status_code == 200


def test_a_renewed_hash_of_the_same_password_revokes_nothing(
    dora: User, log_in: LogIn, settings: Settings
) -> None:
    text = token_of(dora)[1]
    before = dora.password
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]

    log_in()

    dora.refresh_from_db()
    assert dora.password != before
    assert bearer(text).get("/me").status_code == 200


def test_a_deactivation_revokes_all_tokens_for_good(alice: User) -> None:
    text = token_of(alice)[1]

    people.update_user(alice, {"is_active": False})
    refusal(bearer(text).get("/me"), 401)
    people.update_user(alice, {"is_active": True})

    refusal(bearer(text).get("/me"), 401)


def test_a_user_who_was_deactivated_in_sql_is_refused(alice: User) -> None:
    text = token_of(alice)[1]
    User.objects.filter(pk=alice.pk).update(is_active=False)

    refusal(bearer(text).get("/me"), 401)


def test_the_end_of_a_membership_revokes_the_tokens_for_its_organization(
    bob: User, acme: Organization
) -> None:
    everywhere, here = token_of(bob), token_of(bob, Scope.READ, acme)

    organizations.remove_member(acme, actor="olga", authority=None, user_id=bob.pk)

    assert list(ApiToken.objects.all()) == [everywhere[0]]
    refusal(bearer(here[1]).get("/me"), 401)


def test_a_deleted_organization_leaves_no_token_for_it(alice: User, acme: Organization) -> None:
    token_of(alice, Scope.READ, acme)

    organizations.delete(acme, actor="alice")

    assert not ApiToken.objects.exists()


def test_the_migration_has_the_permission_of_operators() -> None:
    call_command("migrate", verbosity=0)

    assert User._meta.apps.get_model("auth", "Permission").objects.filter(
        codename="revoke_apitoken", group__name="Operators"
    )
