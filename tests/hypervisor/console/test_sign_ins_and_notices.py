"""Operators see sessions, identities and notices, and change none of them."""

from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import BrowserSession, ProviderIdentity, User
from deployments.models import Notice, NoticeMessage, NoticeRecipient, NoticeRule
from deployments.notices import services
from orgs.models import Organization

pytestmark = pytest.mark.django_db

MODELS: list[type[Model]] = [BrowserSession, ProviderIdentity, Notice, NoticeMessage, NoticeRule]


@pytest.fixture
def rows(acme: Organization, alice: User, bob: User) -> None:
    """Bob's session and identity, Acme's rule for a chat, and a mail about Bob's deployment."""
    Client(headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}).force_login(
        bob, "django.contrib.auth.backends.ModelBackend"
    )
    now = timezone.now()
    ProviderIdentity.objects.create(
        user=bob, issuer="https://login.example.org", subject="f3a9", linked_at=now, used_at=now
    )
    services.add(
        by=alice, user=None, organization=acme, channel="slack",
        url="https://chat.example.org/very-secret",
    )  # fmt: skip
    mailbox = NoticeRecipient.objects.create(user=bob)
    message = NoticeMessage.objects.create(
        recipient=mailbox, subject="night-train was evicted", status="failed", error="550 no box"
    )
    Notice.objects.create(
        recipient=mailbox, organization=acme, deployment_id=7, name="night-train", kind="failed",
        group="deployment-7", key="1", headline="night-train failed", time=now, due_at=now,
        message=message,
    )  # fmt: skip


def url(model: type[Model], page: str, *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


@pytest.mark.parametrize(
    ("model", "search", "expected"),
    [
        (BrowserSession, "bob", "bob"),
        (ProviderIdentity, "f3a9", "https://login.example.org"),
        (Notice, "night", "night-train failed"),
        (NoticeMessage, "bob", "550 no box"),
        (NoticeRule, "Acme", "chat.example.org"),
    ],
)
def test_a_row_is_found_and_shown_and_cannot_be_changed(
    console: Client, rows: None, model: type[Model], search: str, expected: str
) -> None:
    listed = console.get(url(model, "changelist"), {"q": search}).content.decode()
    assert expected in listed
    assert expected not in console.get(url(model, "changelist"), {"q": "zzz"}).content.decode()
    row: Any = model._default_manager.latest("pk")
    page = console.get(url(model, "change", row.pk)).content.decode()
    assert 'name="_save"' not in page
    for address in (url(model, "add"), url(model, "delete", row.pk)):
        assert console.post(address, {"post": "yes"}).status_code == 403


def test_no_secret_is_shown(console: Client, rows: None) -> None:
    session = BrowserSession.objects.get(user__username="bob")
    rule = NoticeRule.objects.get()
    shown = "".join(
        console.get(address).content.decode()
        for model, row in ((BrowserSession, session), (NoticeRule, rule))
        for address in (url(model, "changelist"), url(model, "change", row.pk))
    )
    assert session.session_data not in shown
    assert "very-secret" not in shown
    assert rule.url not in shown
    assert rule.secret == "" or rule.secret not in shown
