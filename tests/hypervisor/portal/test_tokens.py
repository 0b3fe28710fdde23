"""The page of API tokens."""

import re

from django.urls import reverse
from rest_framework.test import APIClient

from accounts.models import User
from orgs.models import ApiToken, Organization, Role
from tests.fixtures.deployments import MemberAs
from tests.hypervisor.portal.conftest import Browse

GIVEN = {"name": "ci", "scope": "read", "days": "30"}


def test_a_new_token_is_shown_once_and_works(browse: Browse, acme: Organization, bob: User) -> None:
    browser = browse(bob)
    given = GIVEN | {"organization": str(acme.pk)}
    shown = browser.post(reverse("portal:new_token"), given).content.decode()
    found = re.search(r'value="(hv_[^"]+)"', shown)
    assert found
    assert f"echo {found[1]} | hv login http://testserver --token-stdin" in shown
    assert found[1] not in browser.get(reverse("portal:tokens")).content.decode()
    caller = APIClient(headers={"Authorization": f"Bearer {found[1]}"})
    assert caller.get("/me").json()["token"]["organization"] == acme.pk


def test_errors_stand_beside_their_fields(browse: Browse, bob: User) -> None:
    answer = browse(bob).post(reverse("portal:new_token"), GIVEN | {"days": "9999", "scope": "all"})
    assert set(answer.context["form"].errors) == {"scope"}
    answer = browse(bob).post(reverse("portal:new_token"), GIVEN | {"days": "9999"})
    assert "at most 366 days" in answer.context["form"].errors["days"][0]
    assert not ApiToken.objects.exists()


def test_a_token_for_an_organization_of_others_is_refused(
    browse: Browse, globex: Organization, bob: User
) -> None:
    given = GIVEN | {"organization": str(globex.pk)}
    answer = browse(bob).post(reverse("portal:new_token"), given)
    assert answer.context["form"].errors["organization"]


def test_revoke(browse: Browse, bob: User) -> None:
    browser = browse(bob)
    browser.post(reverse("portal:new_token"), GIVEN)
    path = reverse("portal:revoke_token", args=[ApiToken.objects.get().pk])
    assert "Programs that use the token" in browser.get(path).content.decode()
    assert browser.post(path)["Location"] == reverse("portal:tokens")
    assert not ApiToken.objects.exists()


def test_the_tokens_of_others_are_404(browse: Browse, bob: User, alice: User) -> None:
    browse(bob).post(reverse("portal:new_token"), GIVEN)
    path = reverse("portal:revoke_token", args=[ApiToken.objects.get().pk])
    assert browse(alice).post(path).status_code == 404
    assert ApiToken.objects.exists()


def test_only_admins_make_tokens_for_service_accounts(
    browse: Browse, acme: Organization, alice: User, charlie: User, member_as: MemberAs
) -> None:
    path = reverse("portal:new_service_account", args=[acme.pk])
    made = browse(alice).post(path, {"name": "nightly", "role": "viewer"})["Location"]
    assert browse(charlie).post(made, GIVEN).status_code == 404
    assert browse(member_as(Role.DEVELOPER)).post(made, GIVEN).status_code == 403
    assert not ApiToken.objects.exists()


def test_a_form_that_is_sent_twice_makes_one_token(browse: Browse, bob: User) -> None:
    browser, path = browse(bob), reverse("portal:new_token")
    form = GIVEN | {"form_key": browser.get(path).context["key"]}

    shown, again = browser.post(path, form), browser.post(path, form, follow=True)

    assert b"hv_" in shown.content
    assert ApiToken.objects.count() == 1
    assert "sent before" in again.content.decode()
