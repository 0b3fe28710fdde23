"""Rules and messages over REST: who sees and changes what, and what is refused."""

from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import AuditEntry, User
from deployments.choices import Status
from deployments.models import NoticeRule
from deployments.notices import services
from hypervisor.base.secrets import decrypt
from orgs.models import Membership, Organization, Role
from tests.deployments.notices.conftest import AddRule, Send
from tests.fixtures.deployments import Bring, MemberAs
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal

pytestmark = pytest.mark.django_db

HOOK = "https://hooks.example.org/services/hunter2"


@pytest.fixture
def api(client_for: ClientFor, bob: User, acme: Organization) -> APIClient:
    return client_for(bob)


def test_a_rule_of_the_own_deployments_has_defaults(api: APIClient) -> None:
    made = api.post("/notices", {})

    assert made.status_code == 201
    rule = {
        name: made.data[name]
        for name in ("scope", "organization", "kinds", "channel", "wait_minutes", "enabled")
    }
    assert rule == {
        "scope": "own",
        "organization": None,
        "kinds": ["preempted", "failed", "started_late"],
        "channel": "mail",
        "wait_minutes": 15,
        "enabled": True,
    }
    assert made.data["secret"] is None
    assert api.get("/notices").json()["count"] == 1


def test_only_the_response_to_the_post_shows_the_secret_and_none_the_url(api: APIClient) -> None:
    made = api.post("/notices", {"channel": "webhook", "url": HOOK})
    shown = api.get(f"/notices/{made.data['id']}").json()

    assert made.data["secret"].startswith("whsec_")
    assert decrypt(NoticeRule.objects.get().secret) == made.data["secret"]
    assert shown["host"] == "hooks.example.org"
    assert "hunter2" not in made.content.decode()
    assert "secret" not in shown
    assert "url" not in shown


def test_a_replay_shows_no_secret(api: APIClient) -> None:
    body = {"channel": "webhook", "url": HOOK}
    key = {"Idempotency-Key": "k"}
    first = api.post("/notices", body, headers=key).json()

    again = api.post("/notices", body, headers=key).json()

    assert again == {**first, "secret": None}


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"scope": "everything"}, "scope"),
        ({"scope": "own", "organization": 1}, "organization"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["moved"]}, "kinds.0"),
        ({"labels": {"a b": "c"}}, "labels"),
        ({"wait_minutes": 0}, "wait_minutes"),
        ({"channel": "pager"}, "channel"),
        ({"channel": "slack"}, "url"),
        ({"channel": "mail", "url": HOOK}, "url"),
        ({"channel": "slack", "url": "ftp://example.org"}, "url"),
        ({"channel": "slack", "url": "https://10.0.0.1/x"}, "url"),
        ({"digest_hour": 24}, "digest_hour"),
    ],
)
def test_a_bad_rule_is_refused_at_its_field(
    api: APIClient, body: dict[str, Any], attr: str
) -> None:
    assert refusal(api.post("/notices", body), 400)["attr"].startswith(attr)
    assert not NoticeRule.objects.exists()


def test_a_developer_cannot_make_a_rule_of_the_organization(api: APIClient) -> None:
    refusal(api.post("/notices", {"scope": "organization"}), 403)


def test_any_member_may_get_all_of_the_organization(
    client_for: ClientFor, member_as: MemberAs, acme: Organization
) -> None:
    viewer = client_for(member_as(Role.VIEWER))

    made = viewer.post("/notices", {"scope": "all", "kinds": ["failed"]})

    assert made.data["organization"] == acme.pk
    assert viewer.delete(f"/notices/{made.data['id']}").status_code == 204


def test_nobody_sees_or_changes_another_persons_rules(
    api: APIClient, client_for: ClientFor, alice: User, acme: Organization
) -> None:
    own = api.post("/notices", {}).data["id"]
    everything = api.post("/notices", {"scope": "all"}).data["id"]
    owner = client_for(alice)

    assert owner.get("/notices").json()["count"] == 0
    for pk in (own, everything):
        refusal(owner.get(f"/notices/{pk}"), 404)
        refusal(owner.patch(f"/notices/{pk}", {"enabled": False}), 404)


def test_a_developer_is_told_which_role_the_organizations_rule_needs(
    api: APIClient, add_rule: AddRule, acme: Organization
) -> None:
    rule = add_rule(user=None, organization=acme)

    assert api.get("/notices").json()["count"] == 0
    assert "admin" in refusal(api.delete(f"/notices/{rule.pk}"), 403)["detail"]


def test_a_rule_is_changed_but_stays_whose_it_is(api: APIClient) -> None:
    pk = api.post("/notices", {"channel": "slack", "url": HOOK}).data["id"]
    address = NoticeRule.objects.get().url

    changed = api.patch(f"/notices/{pk}", {"kinds": ["completed", "failed"], "digest_hour": 7})
    assert changed.json()["kinds"] == ["failed", "completed"]
    assert NoticeRule.objects.get().url == address
    for field, value in (("scope", "all"), ("channel", "mail"), ("organization", 1)):
        assert refusal(api.patch(f"/notices/{pk}", {field: value}), 400)["attr"] == field
    assert api.patch(f"/notices/{pk}", {"url": "https://new.example.org"}).json()["host"] == (
        "new.example.org"
    )


def test_a_person_has_no_more_rules_than_the_limit(api: APIClient, settings: Settings) -> None:
    settings.MAX_NOTICE_RULES = 1
    api.post("/notices", {})

    assert refusal(api.post("/notices", {}), 409)["code"] == "limit_reached"


def test_the_messages_to_a_person_are_listed(
    api: APIClient, client_for: ClientFor, alice: User, bring: Bring, send: Send
) -> None:
    bring(Status.FAILED, name="train")
    send()

    [sent] = api.get("/notices/sent?status=sent").json()["results"]
    assert (sent["subject"], sent["rule"], sent["error"]) == ("train failed", None, "")
    assert client_for(alice).get("/notices/sent").json()["count"] == 0


def test_a_test_of_a_rule_is_sent(api: APIClient, send: Send) -> None:
    pk = api.post("/notices", {}).data["id"]

    assert api.post(f"/notices/{pk}/test").status_code == 201
    assert [mail["To"] for mail in send()] == ["bob@example.org"]


def test_a_test_is_refused_while_mails_are_stopped(
    api: APIClient, bob: User, settings: Settings
) -> None:
    settings.MAIL_IS_SENT = True
    pk = api.post("/notices", {}).data["id"]
    services.unsubscribe(bob.pk)
    assert "unsubscribed" in refusal(api.post(f"/notices/{pk}/test"), 409)["detail"]

    settings.MAIL_IS_SENT = False
    assert "MAIL_URL" in refusal(api.post(f"/notices/{pk}/test"), 409)["detail"]


def test_the_audit_trail_has_changes_without_the_address(api: APIClient) -> None:
    pk = api.post("/notices", {"channel": "slack", "url": HOOK}).data["id"]
    api.patch(f"/notices/{pk}", {"enabled": False})
    api.delete(f"/notices/{pk}")

    entries = AuditEntry.objects.filter(model="deployments.noticerule", object_id=pk)
    assert {entry.operation for entry in entries} == {"INSERT", "UPDATE", "DELETE"}
    assert "hunter2" not in repr([(entry.before, entry.after) for entry in entries])


def test_a_former_member_keeps_only_own_rules(api: APIClient, bob: User) -> None:
    api.post("/notices", {})
    Membership.objects.filter(user=bob).delete()

    assert api.get("/notices").json()["count"] == 1


def test_an_organization_with_rules_and_messages_can_be_deleted(
    add_rule: AddRule, acme: Organization, alice: User, client_for: ClientFor
) -> None:
    rule = add_rule(user=None, organization=acme, channel="slack", url=HOOK)
    services.send_test(alice, rule)

    assert client_for(alice).delete(f"/organizations/{acme.pk}").status_code == 204
    assert not NoticeRule.objects.exists()
