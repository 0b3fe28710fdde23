"""Changes to rules and recipients of notices: one verb per function, each atomic."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from accounts.services import mail_address_of
from deployments.models import NoticeMessage, NoticeRecipient, NoticeRule
from deployments.notices.kinds import Channel
from deployments.notices.recipients import is_stopped
from hypervisor.base import bounds, purging
from hypervisor.base.bounds import Bound
from hypervisor.base.errors import Conflict, Invalid
from hypervisor.base.secrets import encrypt, rotate
from orgs.models import Organization
from orgs.services import protect_organizations
from orgs.webhooks import targets
from orgs.webhooks.signing import new_secret

_MOST_TESTS = 3
_HOUR = timedelta(hours=1)
_UNSUBSCRIBED = "You have unsubscribed from mails with notices. Enable a rule to get them again."


@transaction.atomic
def add(
    *, by: User, user: User | None, organization: Organization | None, url: str = "", **given: Any
) -> tuple[NoticeRule, str | None]:
    """Add a rule of the person or of the organization; return it with the secret that signs.

    Only a rule for a signed webhook has a secret. `given` has the other columns. Raises Invalid if
    the channel and the URL do not fit, and Conflict if there are too many rules.
    """
    channel = Channel(given.get("channel", Channel.MAIL))
    address = _address(channel, url)
    bounds.check([_bound(user, organization)])
    protect_organizations([organization.pk] if organization else [])
    secret = new_secret() if channel == Channel.WEBHOOK else None
    rule = NoticeRule.objects.create(
        user=user,
        organization=organization,
        secret=encrypt(secret).decode() if secret else "",
        created_by=by,
        **given,
        **address,
    )
    if user and rule.enabled and channel == Channel.MAIL:
        resume(user)
    return rule, secret


@transaction.atomic
def update(rule: NoticeRule, *, changes: Mapping[str, Any]) -> NoticeRule:
    """Change a rule, except for whose it is and its channel.

    A rule that is enabled is tried at once, whatever failed before. Raises Invalid as `add` does.
    """
    recipient = NoticeRecipient.objects.locked().filter(rule=rule.pk).first()
    rule = NoticeRule.objects.get_locked(rule.pk)
    values = {name: value for name, value in changes.items() if name != "url"}
    if changes.get("url"):
        values |= _address(Channel(rule.channel), changes["url"])
    for name, value in values.items():
        setattr(rule, name, value)
    if rule.enabled:
        rule.disabled_reason = ""
        if recipient is not None:
            _try_again(recipient)
        if rule.user and rule.channel == Channel.MAIL and "enabled" in changes:
            resume(rule.user)
    rule.updated_at = timezone.now()
    rule.save()
    return rule


@transaction.atomic
def delete(rule: NoticeRule) -> None:
    """Delete a rule; what its address has not got yet is not sent any more."""
    NoticeRecipient.objects.locked(for_deletion=True).filter(rule=rule.pk).first()
    NoticeRule.objects.get_locked(rule.pk, for_deletion=True).delete()


@transaction.atomic
def send_test(user: User, rule: NoticeRule | None = None) -> NoticeMessage:
    """Have a message sent to the address of the rule, or by mail to the user.

    Raises Conflict if mails to the user are stopped, while several tests have not been sent yet,
    and after as many tests in an hour as there may be other messages.
    """
    is_mail = rule is None or rule.channel == Channel.MAIL
    if is_mail and (why := why_no_mails(user)):
        raise Conflict(why, code="notices_stopped")
    owner = {"user": user} if is_mail else {"rule": rule}
    recipient, _ = NoticeRecipient.objects.get_or_create(**owner)
    recipient = NoticeRecipient.objects.get_locked(recipient.pk)
    now = timezone.now()
    tests = recipient.messages.filter(is_test=True)
    waiting = tests.filter(status=NoticeMessage.Status.SCHEDULED).count()
    if waiting >= _MOST_TESTS:
        raise Conflict(f"{waiting} tests have not been sent yet: wait for them.", code="busy")
    if tests.filter(created_at__gt=now - _HOUR).count() >= settings.NOTICES_PER_HOUR:
        most = settings.NOTICES_PER_HOUR
        raise Conflict(f"There were {most} tests within an hour: wait for a while.", code="busy")
    NoticeRecipient.objects.filter(pk=recipient.pk).update(paused_until=now)
    return recipient.messages.create(
        subject=f"This is a test, which {user.username} asked for.",
        is_test=True,
        next_attempt_at=now,
        created_at=now,
    )


@transaction.atomic
def unsubscribe(user_id: int) -> bool:
    """Send the person no more mails with notices, also none as an admin; return if there is one."""
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        return False
    recipient, _ = NoticeRecipient.objects.get_or_create(user=user)
    NoticeRecipient.objects.filter(pk=recipient.pk).update(unsubscribed_at=timezone.now())
    return True


@transaction.atomic
def resume(user: User) -> None:
    """Send mails to the person again, whoever stopped them."""
    recipient = NoticeRecipient.objects.locked().filter(user=user).first()
    if recipient is not None:
        recipient.unsubscribed_at = None
        recipient.refused_address = recipient.refused_reason = ""
        _try_again(recipient)


def why_no_mails(user: User) -> str:
    """Return a sentence that says why the person gets no mails, "" if mails can be sent."""
    if not settings.MAIL_IS_SENT:
        return "This service sends no mail: the operator has not set a mail server (MAIL_URL)."
    address = mail_address_of(user)
    if not address:
        return "You have no verified mail address: add one to your account."
    recipient = NoticeRecipient.objects.filter(user=user).first()
    if recipient is None:
        return ""
    if recipient.unsubscribed_at is not None:
        return _UNSUBSCRIBED
    if recipient.refused_address == address:
        return f"{recipient.refused_reason} Change your address, or enable a rule to try again."
    return ""


def may_resume(user: User) -> bool:
    """Return whether `resume` makes mails to the person go out again."""
    recipient = NoticeRecipient.objects.filter(user=user).first()
    address = mail_address_of(user)
    return bool(address and recipient and is_stopped(recipient, address))


def lock_for_deletion(organization: Organization) -> None:
    """Lock the recipients that are deleted with the organization, as a sender does first."""
    rows = NoticeRecipient.objects.locked(for_deletion=True)
    list(rows.filter(rule__organization=organization).values_list("pk", flat=True))


@transaction.atomic
def rotate_keys() -> int:
    """Encrypt all addresses and secrets with the first of CREDENTIALS_KEYS; return how many rules.

    Raises CannotDecrypt if the key of one is missing; then nothing has changed.
    """
    count = 0
    for rule in NoticeRule.objects.locked().filter(~Q(url="")):
        rule.url = rotate(rule.url).decode()
        rule.secret = rotate(rule.secret).decode() if rule.secret else ""
        rule.save(update_fields=["url", "secret"])
        count += 1
    return count


def purge(before: datetime) -> int:
    """Delete the messages from before this time that have ended, with their notices."""
    rows = NoticeMessage.objects.exclude(status=NoticeMessage.Status.SCHEDULED)
    return purging.purge(rows, "created_at", before)


def _address(channel: Channel, url: str) -> dict[str, str]:
    """Return the columns of an address, which is encrypted. Raises Invalid if it does not fit."""
    if channel == Channel.MAIL:
        if url:
            raise Invalid(
                "A mail needs no URL: leave it out, or choose another channel.", attr="url"
            )
        return {}
    if not url:
        raise Invalid("Give the URL to which notices are sent.", attr="url", code="required")
    try:
        checked = targets.checked(url)
    except ValueError as error:
        raise Invalid(str(error), attr="url") from error
    return {"url": encrypt(checked).decode(), "host": httpx.URL(checked).host[:255]}


def forget(user: User) -> None:
    """Delete the rules of a user whose account ends, and what waits to be sent to the user."""
    NoticeRule.objects.filter(user=user).delete()
    NoticeRecipient.objects.filter(user=user).delete()


def _try_again(recipient: NoticeRecipient) -> None:
    recipient.failures, recipient.failing_since = 0, None
    recipient.paused_until = timezone.now()
    recipient.save()


def _bound(user: User | None, organization: Organization | None) -> Bound:
    rules = NoticeRule.objects.filter(user=user)
    owner = user.pk if user else organization.pk if organization else 0
    return Bound(
        "MAX_NOTICE_RULES",
        owner,
        rules if user else rules.filter(organization=organization),
        lambda there, bound: (
            f"There are {there} rules for notices, and at most {bound} are allowed: delete one."
        ),
    )
