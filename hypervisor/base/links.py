"""Sign what links in mails say, so that nobody else can make such a link.

The keys are derived from `CREDENTIALS_KEYS`, because the process that sends mails has these, but
not the SECRET_KEY. Links signed with a former key stay valid while that key is listed.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.utils.crypto import salted_hmac


class BadLink(Exception):
    """The link was changed, is incomplete, or has expired."""


def sign(says: Any, *, purpose: str) -> str:
    """Return what the link says, as JSON and signed, in characters for a URL."""
    return signing.dumps(says, key=keys()[0], salt=purpose)


def read(text: str, *, purpose: str, lifetime: timedelta | None = None) -> Any:
    """Return what a link says that was signed for this purpose. Raises BadLink."""
    first, *former = keys()
    try:
        return signing.loads(text, key=first, salt=purpose, max_age=lifetime, fallback_keys=former)
    except signing.BadSignature as error:
        raise BadLink from error


def keys() -> list[str | bytes]:
    """Return the keys of the signatures, of which the first one signs."""
    return [
        salted_hmac(__name__, "links", secret=key, algorithm="sha256").hexdigest()
        for key in settings.CREDENTIALS_KEYS
    ]
