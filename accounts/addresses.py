"""Verified addresses: an address counts only after a link that was mailed to it has been opened.

A new address waits in `pending_email` until then. The link is valid for a day, and only while the
address still waits and the password is the same: a link that somebody else asked for ends when the
owner of the account gets it back.
"""

from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts import mails
from accounts.models import User
from hypervisor.base import links
from hypervisor.base.errors import Conflict, NotFound
from hypervisor.base.locks import locked

log = structlog.get_logger(__name__)

LIFETIME = timedelta(days=1)
_PURPOSE = "accounts.address"


@dataclass(frozen=True, slots=True)
class Request:
    """What a link asks for: that this address becomes the user's."""

    user: User
    address: str


def waiting(user: User) -> str:
    """Return the address that waits for its verification, empty if there is none."""
    return user.pending_email or ("" if user.email_verified_at else user.email)


@transaction.atomic
def change(user: User, address: str) -> None:
    """Let the address become the user's once it is verified, and mail the link to it.

    Raises Conflict if this service sends no mail, or if the address is verified already.
    """
    mails.require()
    user = locked(User.objects.all()).get(pk=user.pk)
    address = User.objects.normalize_email(address)
    if user.email_verified_at and user.email.lower() == address.lower():
        raise Conflict("This is your address already.", attr="email")
    user.pending_email = address
    user.save(update_fields=["pending_email"])
    mails.ask_on_commit(mails.VERIFICATION, user.pk)


def send_again(user: User) -> None:
    """Mail the link again. Raises Conflict if no address waits, or this service sends no mail."""
    mails.require()
    if not waiting(user):
        raise Conflict("Your address is verified already.")
    mails.ask(mails.VERIFICATION, user.pk)


def send(user_id: int) -> None:
    """Mail the link to the address that waits, unless one was mailed a moment ago."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    address = waiting(user) if user else ""
    if user is None or not address:
        return
    says = {"user": user.pk, "address": address, "state": _state(user)}
    link = f"{settings.PUBLIC_URL}/account/verify/{links.sign(says, purpose=_PURPOSE)}/"
    with mails.turn(f"verification:{address.lower()}", user.pk) as is_free:
        if is_free:
            mails.send("verification", address, user=user, address=address, link=link)


def read(link: str) -> Request:
    """Return what the link asks for. Raises NotFound if it is not valid, or no longer."""
    bad = NotFound(
        "This link is not valid, or no longer: sign in and let a new one be mailed to you."
    )
    try:
        says = links.read(link, purpose=_PURPOSE, lifetime=LIFETIME)
    except links.BadLink as error:
        raise bad from error
    user = User.objects.filter(pk=says["user"], is_active=True).first()
    if user is None or says["address"] not in (user.pending_email, user.email):
        raise bad
    if not constant_time_compare(says["state"], _state(user)):
        raise bad
    return Request(user, says["address"])


@transaction.atomic
def verify(link: str) -> User:
    """Make the link's address the user's, and let the former one know.

    Raises NotFound if the link is not valid, Conflict if the address belongs to another user.
    """
    asked = read(link)
    user = locked(User.objects.all()).get(pk=asked.user.pk)
    former = user.email if user.email_verified_at else ""
    user.email, user.pending_email, user.email_verified_at = asked.address, "", timezone.now()
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "pending_email", "email_verified_at"])
    except IntegrityError as error:
        raise Conflict(
            "This address belongs to another user: sign in as that user, or use another address."
        ) from error
    log.info("address_verified", user=user.username)
    if former and former.lower() != user.email.lower():
        mails.ask_on_commit(mails.ADDRESS_CHANGED, user.pk, former)
    return user


def send_changed(user_id: int, former: str) -> None:
    """Tell the former address that it no longer belongs to the user."""
    user = User.objects.filter(pk=user_id).first()
    if user is not None:
        mails.send("address_changed", former, user=user)


def _state(user: User) -> str:
    """Return what changes when the link has been used or is no longer wanted."""
    now = f"{user.password} {user.email} {user.email_verified_at} {user.pending_email}"
    return salted_hmac(_PURPOSE, now, secret=links.keys()[0], algorithm="sha256").hexdigest()[:32]
