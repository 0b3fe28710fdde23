"""The mail server that a URL names."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_PORTS = {"smtp": 587, "smtps": 465}
_FORMS = (
    "Give smtp://user:password@host:587 (STARTTLS), smtps://user:password@host:465 (TLS), or"
    " smtp://host:25?tls=none (unencrypted)."
)


def read(url: str) -> dict[str, Any]:
    """Return Django's settings of the mail server; of none for an empty URL.

    Without encryption only where the URL says so. Raises ValueError with a sentence for people.
    """
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    parts = urlsplit(url)
    options = parse_qs(parts.query, keep_blank_values=True)
    tls = options.pop("tls", None)
    bad = options or tls not in (None, ["none"]) or parts.path.strip("/") or parts.fragment
    if bad or parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(_FORMS)
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or _PORTS[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp" and tls is None,
        "EMAIL_TIMEOUT": 10,
    }
