"""Webhooks in the REST API."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import AuditEntry, IdempotencyKey, User
from hypervisor.base.secrets import decrypt
from orgs.models import AttemptCount, Delivery, Event, Organization, Role, Webhook
from tests.fixtures.deployments import MemberAs
from tests.fixtures.people import ClientFor
from tests.orgs.webhooks.conftest import Add
from tests.support.answers import attrs, refusal

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.org/secret-path"


@pytest.fixture
def admin(member_as: MemberAs, client_for: ClientFor) -> APIClient:
    return client_for(member_as(Role.ADMIN))


def added(client: APIClient, **body: Any) -> Any:
    response = client.post("/webhooks", {"url": URL, **body})
    assert response.status_code == 201, response.data
    return response.json()


def failed(webhook: Any, *numbers: int) -> None:
    for number in numbers:
        Webhook.objects.get(pk=webhook["id"]).deliveries.create(
            number=number, kind="renamed", status="failed", attempts=10
        )


def test_an_admin_adds_a_webhook_and_sees_its_secret_once(admin: APIClient) -> None:
    webhook = added(admin, kinds=["failed", "evicted", "failed"])

    secret = webhook.pop("secret")
    assert decrypt(Webhook.objects.get().secret) == secret
    assert webhook["kinds"] == ["evicted", "failed"]
    assert (webhook["enabled"], webhook["created_by"]) == (True, "some-admin")
    assert admin.get("/webhooks").json()["results"] == [webhook]
    assert admin.get(f"/webhooks/{webhook['id']}").json() == webhook


def test_neither_the_history_nor_the_trail_has_the_secret_or_the_path(admin: APIClient) -> None:
    webhook = added(admin)
    admin.post(f"/webhooks/{webhook['id']}/rotate")
    admin.patch(f"/webhooks/{webhook['id']}", {"url": f"{URL}/2"})
    admin.delete(f"/webhooks/{webhook['id']}")

    events = Event.objects.order_by("pk")
    assert [event.kind for event in events] == [
        "webhook_added", "webhook_secret_rotated", "webhook_updated", "webhook_deleted",
    ]  # fmt: skip
    assert not any("secret-path" in f"{event.reason} {event.data}" for event in events)
    trail = " ".join(str(vars(entry)) for entry in AuditEntry.objects.all())
    assert "whsec_" not in trail


def test_a_replay_of_the_request_has_no_secret(admin: APIClient) -> None:
    for path, body in (("/webhooks", {"url": URL}), ("/webhooks/{}/rotate", {})):
        path = path.format(Webhook.objects.values_list("pk", flat=True).first())
        first, again = (
            admin.post(path, body, headers={"Idempotency-Key": path}).json() for _ in range(2)
        )
        assert first["secret"].startswith("whsec_")
        assert again == {**first, "secret": None}
    assert not IdempotencyKey.objects.filter(body__contains="whsec").exists()
    assert Webhook.objects.count() == 1


def test_a_bad_url_is_refused_at_its_field(admin: APIClient) -> None:
    for url in ("http://example.org", "https://10.0.0.1/", "https://a:b@example.org/", "x"):
        assert attrs(admin.post("/webhooks", {"url": url})) == {"url"}
    error = refusal(admin.post("/webhooks", {"url": URL, "kinds": ["exploded"]}), 400)
    assert (error["attr"], "evicted" in error["detail"]) == ("kinds.0", True)
    assert attrs(admin.post("/webhooks", {})) == {"url"}


def test_a_rotation_keeps_the_former_secret_for_a_while(admin: APIClient) -> None:
    webhook = added(admin)
    path = f"/webhooks/{webhook['id']}/rotate"

    rotated = admin.post(path, {"keep_hours": 2}).json()

    row = Webhook.objects.get()
    assert decrypt(row.former_secret) == webhook["secret"]
    assert decrypt(row.secret) == rotated["secret"] != webhook["secret"]
    assert rotated["former_secret_until"] is not None

    assert admin.post(path, {"keep_hours": 0}).json()["former_secret_until"] is None
    assert Webhook.objects.get().former_secrets(row.created_at) == []
    reasons = Event.objects.filter(kind="webhook_secret_rotated").order_by("pk")
    assert list(reasons.values_list("reason", flat=True)) == [
        "The former secret also signs for 2 hours.", "No former secret signs any more.",
    ]  # fmt: skip


def test_former_secrets_sign_until_their_own_times(admin: APIClient) -> None:
    webhook = added(admin)
    path = f"/webhooks/{webhook['id']}/rotate"
    longest = admin.post(path, {"keep_hours": 100}).json()
    secrets = [webhook["secret"], longest["secret"]]
    for hours in (3, 2):
        rotated = admin.post(path, {"keep_hours": hours}).json()
        secrets.append(rotated["secret"])

    former = Webhook.objects.get().former_secrets(timezone.now())
    assert [decrypt(secret) for secret, _until in former] == secrets[2::-1]
    assert rotated["former_secret_until"] == longest["former_secret_until"]
    in_time = Webhook.objects.get().former_secrets(timezone.now() + timedelta(hours=2.5))
    assert in_time == former[1:]

    admin.post(path, {"keep_hours": 1})
    kept = Webhook.objects.get().former_secrets(timezone.now())
    assert [decrypt(secret) for secret, _until in kept] == secrets[:0:-1]

    admin.post(path, {"keep_hours": 0})
    row = Webhook.objects.get()
    assert (row.former_secret, row.former_until, row.older_secrets) == ("", None, [])


def test_a_webhook_is_disabled_and_enabled(admin: APIClient) -> None:
    path = f"/webhooks/{added(admin)['id']}"

    disabled = admin.patch(path, {"enabled": False, "description": "for a while"}).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "some-admin disabled it.")
    assert refusal(admin.post(f"{path}/replay", {"after": 0}), 409)["code"] == "webhook_disabled"
    assert admin.post(f"{path}/test").json()["status"] == "scheduled"

    enabled = admin.patch(path, {"enabled": True}).json()
    assert (enabled["enabled"], enabled["disabled_reason"]) == (True, "")
    kinds = Event.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == [
        "webhook_added", "webhook_updated", "webhook_disabled", "webhook_enabled",
    ]  # fmt: skip


def test_only_admins_see_and_change_webhooks(
    admin: APIClient, client_for: ClientFor, bob: User, charlie: User
) -> None:
    path = f"/webhooks/{added(admin)['id']}"
    member, stranger = client_for(bob), client_for(charlie)

    for call in (member.get, member.delete):
        assert "role admin" in refusal(call(path), 403)["detail"]
    refusal(member.get(f"{path}/deliveries"), 403)
    refusal(member.post(f"{path}/test"), 403)
    refusal(member.post("/webhooks", {"url": URL}), 403)
    assert member.get("/webhooks").json()["results"] == []
    refusal(stranger.get(path), 404)
    refusal(stranger.get(f"{path}/deliveries"), 404)


def test_a_list_is_filtered_by_whether_events_are_sent(admin: APIClient) -> None:
    sent, disabled = added(admin)["id"], added(admin, enabled=False)["id"]

    for query, expected in (("true", sent), ("false", disabled)):
        found = admin.get("/webhooks", {"enabled": query}).json()["results"]
        assert [row["id"] for row in found] == [expected]


def test_an_organization_has_a_limited_number_of_webhooks(
    admin: APIClient, settings: Settings
) -> None:
    settings.MAX_WEBHOOKS_PER_ORGANIZATION = 1
    added(admin)
    error = refusal(admin.post("/webhooks", {"url": URL}), 409)
    assert error["code"] == "limit_reached"
    assert "MAX_WEBHOOKS_PER_ORGANIZATION" in error["detail"]


def test_failures_are_listed_and_one_is_replayed(admin: APIClient) -> None:
    webhook = added(admin)
    failed(webhook, 1, 2)
    path = f"/webhooks/{webhook['id']}/deliveries"
    admin.post(f"/webhooks/{webhook['id']}/test")

    listed = admin.get(f"{path}?status=failed&ordering=-number").json()["results"]
    assert [row["number"] for row in listed] == [2, 1]

    replayed = admin.post(f"{path}/{listed[0]['id']}/replay").json()
    assert (replayed["status"], replayed["attempts"]) == ("scheduled", 0)
    assert admin.get(f"{path}?status=failed").json()["count"] == 1
    test = admin.get(f"{path}?status=scheduled").json()["results"][1]
    assert (test["kind"], test["number"]) == ("ping", None)
    refusal(admin.post(f"{path}/{test['id']}/replay"), 409)


@pytest.mark.parametrize(
    ("body", "scheduled"),
    [
        ({"after": 2}, {3, 4}),
        ({"after": 0, "before": 3}, {2}),
        ({"since": "2026-01-01T00:00:00Z"}, {2, 3, 4}),
        ({"until": "2026-01-01T00:00:00Z"}, set()),
        ({"after": 1, "before": 4, "only_failed": False}, {2, 3}),
        ({"after": 4, "only_failed": False}, {5}),
    ],
)
def test_a_range_is_replayed(
    admin: APIClient, acme: Organization, write: Any, body: Any, scheduled: set[int]
) -> None:
    """Of five events that are done with, number 2, 3 and 4 have failed."""
    webhook = added(admin)
    write(5)
    admin.get("/events?after=0")
    Webhook.objects.update(position=5)
    failed(webhook, 2, 3, 4)
    rows = Webhook.objects.get().deliveries

    response = admin.post(f"/webhooks/{webhook['id']}/replay", body)

    assert response.json() == {"scheduled": len(scheduled)}
    again = rows.filter(status="scheduled").values_list("number", flat=True)
    assert {*again} == scheduled


def test_a_range_has_to_be_given(admin: APIClient) -> None:
    path = f"/webhooks/{added(admin)['id']}/replay"
    assert attrs(admin.post(path, {})) == {"after"}
    assert attrs(admin.post(path, {"only_failed": False})) == {"after"}
    assert attrs(admin.post(path, {"after": "x"})) == {"after"}
    assert attrs(admin.post(path, {"before": 10**30})) == {"before"}


def test_only_a_few_tests_wait_at_once(admin: APIClient, add: Add) -> None:
    path = f"/webhooks/{added(admin)['id']}/test"
    for _ in range(5):
        assert admin.post(path).status_code == 201
    refusal(admin.post(path), 409)


def test_an_organization_is_deleted_with_its_webhooks(
    alice: User, acme: Organization, client_for: ClientFor
) -> None:
    owner = client_for(alice)
    failed(added(owner), 1)
    AttemptCount.objects.create(organization=acme, outcome="failed", value=10)

    assert owner.delete(f"/organizations/{acme.pk}").status_code == 204

    assert not any(model.objects.exists() for model in (Webhook, Delivery, AttemptCount))
