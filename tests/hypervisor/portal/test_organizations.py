"""The pages of organizations, as their members use them."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.registries.models import Registry
from orgs.feed.numbering import number_events
from orgs.feed.reading import last_number
from orgs.models import (
    ApiToken,
    Delivery,
    Event,
    Membership,
    Organization,
    Role,
    ServiceAccount,
    Webhook,
)
from orgs.webhooks import services as webhooks
from tests.fixtures.deployments import Bring, MemberAs
from tests.hypervisor.portal.conftest import Browse

OF_ADMINS = [
    "invite", "new_service_account", "rename", "new_registry", "new_webhook",
]  # fmt: skip
OF_OWNERS = ["delete_organization", "hand_over"]
OF_MEMBERS = ["organization", "usage", "members", "organization_settings"]


@pytest.fixture
def webhook(acme: Organization, alice: User) -> Webhook:
    return webhooks.add(acme, by=alice, url="https://example.org/hook")[0]


def address(name: str, organization: Organization, *arguments: int) -> str:
    return reverse(f"portal:{name}", args=[organization.pk, *arguments])


def role_of(user: User, organization: Organization) -> str | None:
    found = Membership.objects.filter(user=user, organization=organization)
    return found.values_list("role", flat=True).first()


def text_of(response: Any) -> str:
    """Return what the page says, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def follow(browser: Client, path: str, **data: Any) -> Any:
    """Submit a form; it has to redirect, and the next page is returned."""
    response = browser.post(path, data, follow=True)
    assert response.redirect_chain, text_of(response)
    return response


@pytest.mark.parametrize("name", OF_MEMBERS)
def test_a_stranger_gets_404_and_an_anonymous_caller_signs_in(
    browse: Browse, acme: Organization, charlie: User, bob: User, name: str
) -> None:
    path = address(name, acme)
    assert browse(charlie).get(path).status_code == 404
    assert browse(bob).get(path).status_code == 200
    assert Client().get(path)["Location"] == f"/account/sign-in/?next={path}"


@pytest.mark.parametrize(
    ("name", "tab"),
    [("invite", "members"), ("hand_over", "members"), ("rename", "organization_settings"),
     ("new_webhook", "organization_settings"), ("new_registry", "organization_settings")],
)  # fmt: skip
def test_the_way_to_a_page_leads_through_its_tab(
    browse: Browse, acme: Organization, alice: User, name: str, tab: str
) -> None:
    page = browse(alice).get(address(name, acme))
    links = [link for _title, link in page.context["breadcrumbs"]]
    assert links == [
        reverse("portal:organizations"), address("organization", acme), address(tab, acme), None
    ]  # fmt: skip


@pytest.mark.parametrize("name", [*OF_ADMINS, *OF_OWNERS])
def test_a_developer_gets_403(browse: Browse, acme: Organization, bob: User, name: str) -> None:
    browser = browse(bob)
    assert browser.get(address(name, acme)).status_code == 403
    assert browser.post(address(name, acme)).status_code == 403


@pytest.mark.parametrize("name", OF_OWNERS)
def test_an_admin_gets_403_where_only_an_owner_may(
    browse: Browse, acme: Organization, member_as: MemberAs, name: str
) -> None:
    assert browse(member_as(Role.ADMIN)).post(address(name, acme)).status_code == 403


def test_the_list_has_only_the_own_organizations(
    browse: Browse, acme: Organization, globex: Organization, bob: User
) -> None:
    said = text_of(browse(bob).get(reverse("portal:organizations")))
    assert "Acme" in said
    assert "developer" in said
    assert "Globex" not in said


def test_create_an_organization(browse: Browse, charlie: User) -> None:
    browser = browse(charlie)
    done = follow(browser, reverse("portal:new_organization"), name="Initech")
    made = Organization.objects.get(name="Initech")
    assert role_of(charlie, made) == Role.OWNER
    assert "Add a cluster" in text_of(done)
    assert "No cluster yet" in text_of(browser.get(address("organization", made)))


def test_a_name_with_an_invisible_character_is_refused_beside_the_field(
    browse: Browse, charlie: User
) -> None:
    response = browse(charlie).post(reverse("portal:new_organization"), {"name": "Ini\u200btech"})
    assert "visible characters" in response.context["form"].errors["name"][0]
    assert 'aria-invalid="true"' in response.content.decode()


def test_join_with_the_link(browse: Browse, acme: Organization, charlie: User) -> None:
    browser = browse(charlie)
    path = reverse("portal:join")
    shown = browser.get(path, {"code": acme.invite_code})
    assert shown.context["form"]["invite_code"].value() == acme.invite_code
    follow(browser, path, invite_code=acme.invite_code)
    assert role_of(charlie, acme) == Role.DEVELOPER


def test_a_wrong_code_is_refused_beside_the_field(browse: Browse, charlie: User) -> None:
    response = browse(charlie).post(reverse("portal:join"), {"invite_code": "nonsense"})
    assert "not valid" in response.context["form"].errors["invite_code"][0]


def test_codes_cannot_be_guessed_without_end(browse: Browse, charlie: User, settings: Any) -> None:
    browser, path = browse(charlie), reverse("portal:join")
    answers = [browser.post(path, {"invite_code": f"guess-{n}"}) for n in range(31)]
    assert "Too many attempts" in text_of(answers[-1])
    assert "Too many attempts" not in text_of(answers[0])


def test_only_admins_see_the_invite_code(
    browse: Browse, acme: Organization, alice: User, bob: User
) -> None:
    path = address("members", acme)
    link = f"http://testserver/my/organizations/join/?code={acme.invite_code}"
    assert link in browse(alice).get(path).content.decode()
    assert acme.invite_code not in browse(bob).get(path).content.decode()


def test_a_new_code_has_terms(browse: Browse, acme: Organization, alice: User) -> None:
    former = acme.invite_code
    follow(browse(alice), address("invite", acme), days="7", max_uses="2")
    acme.refresh_from_db()
    assert acme.invite_code != former
    assert acme.invite_max_uses == 2
    assert acme.invite_expires_at is not None


def test_change_a_role(browse: Browse, acme: Organization, alice: User, bob: User) -> None:
    browser, path = browse(alice), address("change_role", acme, bob.pk)
    offered = browser.get(path).context["form"].fields["role"].choices
    assert {role for role, _ in offered} == set(Role)
    follow(browser, path, role="admin")
    assert role_of(bob, acme) == Role.ADMIN


def test_an_admin_cannot_make_an_admin(
    browse: Browse, acme: Organization, bob: User, member_as: MemberAs
) -> None:
    path = address("change_role", acme, bob.pk)
    browse(member_as(Role.ADMIN)).post(path, {"role": "admin"})
    assert role_of(bob, acme) == Role.DEVELOPER


def test_the_last_owner_stays(browse: Browse, acme: Organization, alice: User) -> None:
    done = follow(browse(alice), address("remove_member", acme, alice.pk))
    assert "last owner" in text_of(done)
    assert role_of(alice, acme) == Role.OWNER


def test_leaving_says_what_is_left_behind(
    browse: Browse, acme: Organization, bob: User, bring: Bring
) -> None:
    bring(Status.RUNNING)
    browser, path = browse(bob), address("remove_member", acme, bob.pk)
    assert "deployments (1 running)" in text_of(browser.get(path))
    follow(browser, path)
    assert role_of(bob, acme) is None


def test_a_developer_cannot_remove_another_member(
    browse: Browse, acme: Organization, bob: User, member_as: MemberAs
) -> None:
    viewer = member_as(Role.VIEWER)
    done = follow(browse(bob), address("remove_member", acme, viewer.pk))
    assert "needs the role admin" in text_of(done)
    assert role_of(viewer, acme) == Role.VIEWER


def test_hand_over_the_ownership(
    browse: Browse, acme: Organization, alice: User, bob: User
) -> None:
    heir = Membership.objects.get(organization=acme, user=bob)
    follow(browse(alice), address("hand_over", acme), member=str(heir.pk))
    assert role_of(bob, acme) == Role.OWNER
    assert role_of(alice, acme) == Role.ADMIN


def test_a_member_of_another_organization_inherits_nothing(
    browse: Browse, acme: Organization, globex: Organization, alice: User, charlie: User
) -> None:
    stranger = Membership.objects.get(organization=globex, user=charlie)
    browse(alice).post(address("hand_over", acme), {"member": str(stranger.pk)})
    assert role_of(alice, acme) == Role.OWNER
    assert role_of(charlie, acme) is None


def test_a_service_account_and_its_token(browse: Browse, acme: Organization, alice: User) -> None:
    browser = browse(alice)
    path = address("new_service_account", acme)
    wrong = browser.post(path, {"name": "Nightly Job", "role": "developer"})
    assert "lower-case" in wrong.context["form"].errors["name"][0]
    done = follow(browser, path, name="nightly", role="developer")
    account = ServiceAccount.objects.get(name="nightly")
    assert done.request["QUERY_STRING"] == f"service_account={account.pk}"
    given = {"name": "ci", "scope": "submit", "days": "30"}
    shown = browser.post(f"{done.request['PATH_INFO']}?service_account={account.pk}", given)
    token = ApiToken.objects.get()
    assert (token.user, token.organization) == (account.user, acme)
    assert token.start in text_of(shown)


def test_rename(browse: Browse, acme: Organization, alice: User) -> None:
    follow(browse(alice), address("rename", acme), name="Acme Works")
    acme.refresh_from_db()
    assert acme.name == "Acme Works"
    assert Event.objects.filter(kind="renamed", actor="alice").exists()


def test_delete_is_refused_while_something_runs(
    browse: Browse, acme: Organization, alice: User, bring: Bring
) -> None:
    bring(Status.RUNNING)
    done = follow(browse(alice), address("delete_organization", acme))
    assert "active deployments" in text_of(done)
    assert Organization.objects.filter(pk=acme.pk).exists()


def test_delete(browse: Browse, acme: Organization, alice: User) -> None:
    follow(browse(alice), address("delete_organization", acme))
    assert not Organization.objects.filter(pk=acme.pk).exists()


def test_registries(browse: Browse, acme: Organization, alice: User, bob: User) -> None:
    browser, path = browse(alice), address("new_registry", acme)
    given = {"host": "registry.example.org/team", "username": "ci", "password": "a secret"}
    wrong = browser.post(path, given)
    assert wrong.context["form"].errors["host"]
    assert "a secret" not in wrong.content.decode()
    follow(browser, path, **given | {"host": "registry.example.org"})
    row = Registry.objects.get()
    shown = browse(bob).get(address("organization_settings", acme)).content.decode()
    assert "registry.example.org" in shown
    remove = address("delete_registry", acme, row.pk)
    assert remove not in shown
    assert browse(bob).post(remove).status_code == 403
    follow(browser, remove)
    assert not Registry.objects.exists()


def test_webhooks(browse: Browse, acme: Organization, alice: User, bob: User) -> None:
    browser, path = browse(alice), address("new_webhook", acme)
    wrong = browser.post(path, {"url": "http://hooks.example.org/"})
    assert wrong.context["form"].errors["url"]
    shown = browser.post(path, {"url": "https://hooks.example.org/h", "kinds": ["failed"]})
    assert "whsec_" in shown.content.decode()
    webhook = Webhook.objects.get()
    assert webhook.kinds == ["failed"]
    here = address("webhook", acme, webhook.pk)
    assert browse(bob).get(here).status_code == 403
    assert "hooks.example.org" not in text_of(
        browse(bob).get(address("organization_settings", acme))
    )
    follow(browser, here, disable="")
    assert "disabled" in text_of(browser.get(here))
    follow(browser, here, enable="")
    follow(browser, here, test="")
    assert "Test message" in text_of(browser.get(here))
    follow(browser, address("delete_webhook", acme, webhook.pk))
    assert not Webhook.objects.exists()


def test_all_events_of_a_subject_are_one_choice(
    browse: Browse, acme: Organization, alice: User
) -> None:
    browser, path = browse(alice), address("new_webhook", acme)

    chosen = ["deployment", "node_lost"]
    browser.post(path, {"url": "https://example.org/", "kinds": chosen})

    webhook = Webhook.objects.get()
    assert webhook.kinds == chosen
    page = browser.get(address("change_webhook", acme, webhook.pk))
    assert page.context["form"]["kinds"].value() == chosen
    assert "all chosen" in text_of(page)
    assert "1 chosen" in text_of(page)
    said = text_of(browser.get(address("organization_settings", acme)))
    assert "All of deployments, node lost" in said


def test_an_admin_changes_a_webhook(
    browse: Browse, acme: Organization, alice: User, webhook: Webhook
) -> None:
    given = {"url": "https://example.org/new", "description": "", "kinds": ["failed"]}
    follow(browse(alice), address("change_webhook", acme, webhook.pk), **given)

    webhook.refresh_from_db()
    assert (webhook.url, webhook.kinds) == ("https://example.org/new", ["failed"])


def test_a_new_secret_is_shown_once_and_the_former_one_signs_for_a_while(
    browse: Browse, acme: Organization, alice: User, webhook: Webhook
) -> None:
    former = webhook.secret

    page = browse(alice).post(address("rotate_secret", acme, webhook.pk), {"keep_hours": "2"})

    assert "whsec_" in page.content.decode()
    webhook.refresh_from_db()
    assert [secret for secret, _until in webhook.former_secrets(timezone.now())] == [former]
    too_long = browse(alice).post(address("rotate_secret", acme, webhook.pk), {"keep_hours": "169"})
    assert too_long.context["form"].errors["keep_hours"]


@pytest.mark.parametrize("pressed", ["replay", "replay_failed"])
def test_a_failed_message_is_sent_again(
    browse: Browse, acme: Organization, alice: User, webhook: Webhook, pressed: str
) -> None:
    number_events()
    number = last_number(acme.pk)
    Webhook.objects.update(position=number)
    failed = Delivery.objects.create(
        webhook=webhook, number=number, kind="webhook_added", status="failed", attempts=9
    )

    path = address("webhook", acme, webhook.pk)
    assert "being sent again" in text_of(follow(browse(alice), path, **{pressed: failed.pk}))

    failed.refresh_from_db()
    assert (failed.status, failed.attempts) == ("scheduled", 0)


def test_a_message_of_another_webhook_is_404(
    browse: Browse, acme: Organization, globex: Organization, alice: User, webhook: Webhook
) -> None:
    other = webhooks.add(globex, by=alice, url="https://example.org/")[0]
    theirs = Delivery.objects.create(webhook=other, number=1, kind="created", status="failed")
    path = address("webhook", acme, webhook.pk)
    assert browse(alice).post(path, {"replay": theirs.pk}).status_code == 404


def test_a_webhook_of_another_organization_is_404(
    browse: Browse, acme: Organization, globex: Organization, alice: User, charlie: User
) -> None:
    path = address("new_webhook", globex)
    browse(charlie).post(path, {"url": "https://hooks.example.org/h"})
    theirs = Webhook.objects.get()
    assert browse(alice).post(address("delete_webhook", acme, theirs.pk)).status_code == 404
    assert Webhook.objects.exists()


def test_the_overview_shows_clusters_and_gpu_models(
    browse: Browse, acme: Organization, bob: User, forge: Cluster, bring: Bring
) -> None:
    forge.nodes.update(labels={"gpu.model": "l4"})
    bring(Status.RUNNING, gpu=1)
    said = text_of(browse(bob).get(address("organization", acme)))
    assert "forge" in said
    assert "l4 1 node GPU 1 of 2 allocated, 1 free" in said


def test_usage_by_person(
    browse: Browse, acme: Organization, bob: User, forge: Cluster, bring: Bring
) -> None:
    bring(Status.RUNNING, gpu=1)
    shown = browse(bob).get(address("usage", acme))
    (line,) = shown.context["lines"]
    assert (line.username, line.share.allocated.gpu) == ("bob", 1)
    assert line.past.gpu_hours > 0
    assert "Allocated GPUs by person" in text_of(shown)


def test_a_form_that_is_sent_twice_makes_one_organization(browse: Browse, charlie: User) -> None:
    browser, path = browse(charlie), reverse("portal:new_organization")
    form = {"name": "Globex", "form_key": browser.get(path).context["key"]}

    first, again = browser.post(path, form), browser.post(path, form)
    another = browser.post(path, form | {"name": "Initech"})

    assert first["Location"] == again["Location"] != another["Location"]
    assert sorted(Organization.objects.values_list("name", flat=True)) == ["Globex", "Initech"]
