"""Deployments to which things happen, and a sender whose clock the tests set."""

from collections.abc import Callable
from datetime import datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_network
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters.models import Cluster
from deployments import lifecycle
from deployments.lifecycle import Change, Verb, transition
from deployments.models import Deployment, NoticeRule
from deployments.notices import sender, services
from orgs.models import Organization
from tests.support.mail_server import MailServer

Happen = Callable[..., None]
Send = Callable[..., list[EmailMessage]]
AddRule = Callable[..., NoticeRule]


class Clock:
    """The time of the sender, which begins after what a test has done so far."""

    def __init__(self) -> None:
        self.ahead = timedelta(seconds=11)

    def __call__(self) -> datetime:
        return timezone.now() + self.ahead

    def advance(self, **span: float) -> None:
        self.ahead += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def happen(forge: Cluster) -> Happen:
    """Let a verb change deployments, as the scheduler or an engine does."""

    def happens(verb: Verb, *rows: Deployment, **given: Any) -> None:
        reason = given.pop("reason", f"It {verb.kind}.")
        changes = [Change(row.pk, reason, cluster=forge.pk, **given) for row in rows]
        assert transition(verb, changes, actor="system:test", now=timezone.now())

    return happens


@pytest.fixture
def send(mails: MailServer, clock: Clock) -> Send:
    """Collect and send what is due once the notices have settled; return the new mails."""

    def send_due(**later: float) -> list[EmailMessage]:
        clock.advance(**later)
        sender.collect_and_send(clock)
        clock.advance(seconds=11)
        sender.collect_and_send(clock)
        return [mails.accepted.get() for _ in range(mails.accepted.qsize())]

    return send_due


@pytest.fixture
def loopback_allowed(settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def add_rule(bob: User, acme: Organization) -> AddRule:
    """Add a rule of bob's for his own deployments, unless given otherwise."""

    def add(**given: Any) -> NoticeRule:
        owner = {"by": bob, "user": bob, "organization": None}
        rule, _ = services.add(**{**owner, "kinds": ["failed"], **given})
        return rule

    return add


PLACED = (lifecycle.PLACE, lifecycle.START)


def text_of(mail: EmailMessage) -> str:
    """Return the plain text of a mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())
