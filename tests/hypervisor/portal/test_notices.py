"""The pages of notices: what a person gets, rules, and the link in each mail."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import User
from deployments.models import NoticeMessage, NoticeRecipient, NoticeRule
from deployments.notices import mail, services
from hypervisor.base.secrets import decrypt
from orgs.models import Organization
from tests.hypervisor.portal.conftest import Browse

pytestmark = pytest.mark.django_db

PAGE, NEW = "/my/notices/", "/my/notices/new/"
HOOK = "https://hooks.example.org/services/hunter2"
GIVEN: dict[str, Any] = {
    "kinds": ["failed"],
    "wait_minutes": "15",
    "channel": "mail",
    "labels": "",
    "pace": "",
}


@pytest.fixture(autouse=True)
def with_mail(settings: Settings) -> None:
    settings.MAIL_IS_SENT = True


@pytest.fixture
def bobs(browse: Browse, bob: User, acme: Organization) -> Client:
    return browse(bob)


def text(client: Client) -> str:
    return client.get(PAGE).content.decode()


def test_the_page_shows_what_a_person_gets_by_default(bobs: Client) -> None:
    shown = text(bobs)

    assert "by mail to bob@example.org" in shown
    assert "waiting for 15 minutes or more" in shown
    assert "What Acme gets" not in shown


def test_an_admin_sees_the_rules_of_the_organization(
    browse: Browse, alice: User, acme: Organization
) -> None:
    services.add(by=alice, user=None, organization=acme, kinds=["failed"])

    shown = text(browse(alice))
    assert "What Acme gets" in shown
    assert "mail to all admins" in shown


def test_a_person_adds_a_rule(bobs: Client) -> None:
    given = GIVEN | {"kinds": ["completed", "failed"], "labels": "team=fraud", "pace": "7"}
    assert bobs.post(NEW, given)["Location"] == PAGE

    rule = NoticeRule.objects.get()
    assert (rule.scope, rule.kinds, rule.labels, rule.digest_hour) == (
        "own", ["failed", "completed"], {"team": "fraud"}, 7,
    )  # fmt: skip
    assert "mail, daily at 07:00 UTC" in text(bobs)
    assert "by default" not in text(bobs)


def test_a_person_gets_all_of_an_organization(bobs: Client, acme: Organization) -> None:
    bobs.post(NEW, GIVEN | {"deployments": str(acme.pk)})

    assert NoticeRule.objects.get().scope == "all"


def test_the_secret_of_a_webhook_is_shown_once(bobs: Client) -> None:
    shown = bobs.post(NEW, GIVEN | {"channel": "webhook", "url": HOOK}).content.decode()

    assert decrypt(NoticeRule.objects.get().secret) in shown
    assert "hunter2" not in text(bobs)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kinds": []}, "kinds"),
        ({"wait_minutes": "0"}, "wait_minutes"),
        ({"labels": "team"}, "labels"),
        ({"labels": "a b=c"}, "labels"),
        ({"channel": "slack"}, "url"),
        ({"channel": "slack", "url": "https://10.0.0.1/x"}, "url"),
        ({"url": HOOK}, "url"),
        ({"deployments": "987654"}, "deployments"),
    ],
)
def test_errors_stand_beside_their_fields(bobs: Client, given: dict[str, Any], field: str) -> None:
    answer = bobs.post(NEW, GIVEN | given)

    assert set(answer.context["form"].errors) == {field}
    assert not NoticeRule.objects.exists()


def test_only_an_admin_adds_a_rule_of_the_organization(
    browse: Browse, bobs: Client, alice: User, charlie: User, acme: Organization
) -> None:
    address = f"{NEW}?organization={acme.pk}"
    assert bobs.post(address, GIVEN).status_code == 403
    assert browse(charlie).post(address, GIVEN).status_code == 404

    browse(alice).post(address, GIVEN | {"channel": "slack", "url": HOOK})
    assert NoticeRule.objects.get().scope == "organization"


def test_a_rule_is_changed_muted_and_deleted(bobs: Client, bob: User) -> None:
    rule, _ = services.add(
        by=bob, user=bob, organization=None, kinds=["failed"], channel="slack", url=HOOK
    )
    change = reverse("portal:change_notice_rule", args=[rule.pk])
    assert "hunter2" not in bobs.get(change).content.decode()
    bobs.post(change, {"kinds": ["completed"], "wait_minutes": "30", "labels": "", "pace": ""})
    rule.refresh_from_db()
    assert (rule.kinds, rule.wait_minutes, decrypt(rule.url)) == (["completed"], 30, HOOK)

    bobs.post(PAGE, {"rule": str(rule.pk), "enabled": "false"})
    rule.refresh_from_db()
    assert not rule.enabled
    assert "muted" in text(bobs)

    bobs.post(reverse("portal:delete_notice_rule", args=[rule.pk]))
    assert not NoticeRule.objects.exists()


def test_a_rule_for_mails_is_changed(bobs: Client, bob: User) -> None:
    rule, _ = services.add(by=bob, user=bob, organization=None, kinds=["failed"])
    form = {"kinds": ["completed"], "wait_minutes": "30", "labels": "a=b", "pace": "7"}

    bobs.post(reverse("portal:change_notice_rule", args=[rule.pk]), form)

    rule.refresh_from_db()
    assert (rule.kinds, rule.labels, rule.digest_hour) == (["completed"], {"a": "b"}, 7)


@pytest.mark.parametrize("name", ["change_notice_rule", "delete_notice_rule"])
def test_another_persons_rule_is_a_404(
    browse: Browse, bob: User, alice: User, acme: Organization, name: str
) -> None:
    rule, _ = services.add(by=bob, user=bob, organization=None, kinds=["failed"])
    of_acme, _ = services.add(by=alice, user=None, organization=acme, kinds=["failed"])

    assert browse(alice).post(reverse(f"portal:{name}", args=[rule.pk])).status_code == 404
    assert browse(bob).post(reverse(f"portal:{name}", args=[of_acme.pk])).status_code == 404
    assert browse(alice).post(PAGE, {"rule": str(rule.pk), "test": ""}).status_code == 404
    assert NoticeRule.objects.count() == 2


def test_a_person_sends_a_test_and_sees_what_becomes_of_it(bobs: Client) -> None:
    assert "Nothing was sent yet" in text(bobs)
    bobs.post(PAGE, {"test": ""})
    assert "This is a test, which bob asked for." in text(bobs)

    NoticeMessage.objects.update(
        status="failed", next_attempt_at=None, error="The mail server refused the address: 550"
    )
    assert "The mail server refused the address: 550" in text(bobs)


def test_the_page_says_why_no_mails_are_sent(bobs: Client, bob: User, settings: Settings) -> None:
    services.unsubscribe(bob.pk)
    assert "You have unsubscribed" in text(bobs)
    bobs.post(PAGE, {"resume": ""})
    assert "No mails are sent" not in text(bobs)

    settings.MAIL_IS_SENT = False
    assert "MAIL_URL" in text(bobs)
    bobs.post(PAGE, {"test": ""})
    assert not NoticeMessage.objects.exists()


def test_a_link_in_a_mail_stops_all_mails_without_a_log_in(client: Client, bob: User) -> None:
    address = f"/my/notices/unsubscribe/{mail.token_of(bob.pk)}/"
    assert client.get(address).status_code == 200
    assert not NoticeRecipient.objects.exists()

    answer = Client(enforce_csrf_checks=True).post(address, {"List-Unsubscribe": "One-Click"})

    assert answer.status_code == 200
    assert "unsubscribed" in services.why_no_mails(bob)


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_forged_link_is_a_404(client: Client, bob: User, method: str) -> None:
    forged = mail.token_of(bob.pk)[:-3] + "abc"

    assert getattr(client, method)(f"/my/notices/unsubscribe/{forged}/").status_code == 404
    assert not NoticeRecipient.objects.exists()


def test_a_visitor_is_sent_to_sign_in(client: Client) -> None:
    assert client.get(PAGE)["Location"].startswith("/account/sign-in/")
