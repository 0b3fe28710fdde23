"""Log lines about signing in and out, by password, by a provider or for a token.

The lines of a request have its address and id. A name that belongs to no user is not logged,
because people type their password into the wrong field.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from axes.signals import user_locked_out
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.exceptions import ObjectDoesNotExist
from django.dispatch import receiver

from accounts.models import User

log = structlog.get_logger(__name__)


@receiver(user_logged_in)
def _signed_in(user: User, **_: Any) -> None:
    log.info("signed_in", user=user.username)


@receiver(user_logged_out)
def _signed_out(user: User | None, **_: Any) -> None:
    if user is not None:
        log.info("signed_out", user=user.username)


@receiver(user_login_failed)
def _failed(credentials: Mapping[str, Any], **_: Any) -> None:
    log.warning("sign_in_failed", user=_known(credentials.get("username")))


@receiver(user_locked_out)
def _locked_out(username: str | None, ip_address: str | None, **_: Any) -> None:
    log.warning("locked_out", user=_known(username), address=ip_address)


def _known(username: str | None) -> str | None:
    try:
        return str(User.objects.get_by_natural_key(username).username)
    except ObjectDoesNotExist:
        return None
