"""A forgotten password: a mailed link, valid for an hour and for one use.

The page that asks for it only sends a message, so that its answer and its time do not depend on
whether the address belongs to anybody. A link ends with the next sign-in as well.
"""

import structlog
from axes.utils import reset as forget_failures
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts import mails, services
from accounts.backends import may_sign_in_locally
from accounts.models import User
from hypervisor.base import links

log = structlog.get_logger(__name__)


class ResetTokens(PasswordResetTokenGenerator):
    """Django's tokens, signed with the keys of links, because a worker makes them."""

    key_salt = "accounts.recovery"

    def __init__(self) -> None:
        super().__init__()
        self.secret, *self.secret_fallbacks = links.keys()


def request(address: str) -> None:
    """Let a link be mailed to the user with this verified address, if there is one.

    Raises Conflict if this service sends no mail, Unavailable without a broker.
    """
    mails.require()
    mails.ask(mails.PASSWORD_RESET, address)
    log.info("password_reset_requested")


def send(address: str) -> None:
    """Mail a link to the user with this verified address, if there is one with a password."""
    user = User.objects.with_address(address)
    if user is None or not may_reset(user):
        return
    where = f"{urlsafe_base64_encode(force_bytes(user.pk))}/{ResetTokens().make_token(user)}"
    link = f"{settings.PUBLIC_URL}/account/reset/{where}/"
    with mails.turn("reset", user.pk) as is_free:
        if is_free:
            mails.send("password_reset", user.email, user=user, link=link)


def may_reset(user: User) -> bool:
    """Return whether the user signs in with a password."""
    return user.is_active and user.has_usable_password() and may_sign_in_locally(user)


def reset(user: User, password: str) -> None:
    """Set the password of a user who opened a valid link, which ends all access as the user."""
    user.set_password(password)
    services.replace_password(user)
    # Whoever locked the user out by guessing did not know the new password.
    forget_failures(username=user.username.lower())
    log.info("password_reset", user=user.username)


def send_changed(user_id: int) -> None:
    """Tell the user by mail that the password has changed."""
    user = User.objects.filter(pk=user_id).first()
    if user is not None and (address := services.mail_address_of(user)):
        mails.send("password_changed", address, user=user)
