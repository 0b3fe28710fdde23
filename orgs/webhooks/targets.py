"""Which URLs a webhook may have."""

import re
from ipaddress import IPv6Address, ip_address

import httpx

from orgs.webhooks import addresses

LONGEST = 2000
_LOW_PORTS, _HIGH_PORTS = (80, 443), range(1024, 65536)
_NAME = re.compile(r"(?=.{1,253}\.?\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
"""A host whose last part is a number: the system's resolver reads it as an IPv4 address."""


def checked(text: str) -> str:
    """Return the URL. Raises ValueError with a sentence for people.

    The name is not resolved: its addresses are checked at each attempt.
    """
    if len(text) > LONGEST:
        raise ValueError(f"Give a URL of at most {LONGEST} characters.")
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise ValueError(f"This is not a URL: {str(error).rstrip('.')}.") from error
    if url.scheme not in ("https", "http") or not host:
        raise ValueError("Give a URL that begins with https:// and has a host.")
    if url.userinfo:
        raise ValueError(
            "Leave the user and the password out: a receiver recognizes messages by their"
            " signatures."
        )
    if url.fragment:
        raise ValueError("Leave the fragment (#...) out: it would not be sent.")
    port = port_of(url)
    if port not in (*_LOW_PORTS, *_HIGH_PORTS):
        raise ValueError(f"Port {port} is refused: use 443, or a port from 1024 to 65535.")
    _check_host(url)
    return text


def port_of(url: httpx.URL) -> int:
    return url.port if url.port is not None else (443 if url.scheme == "https" else 80)


def _check_host(url: httpx.URL) -> None:
    try:
        literal = ip_address(url.host)
    except ValueError:
        if _NUMBER.fullmatch(url.raw_host.decode()):
            raise ValueError(
                f"{url.host!r} is not an IPv4 address: write four numbers from 0 to 255, without"
                " leading zeros, such as 192.0.2.7."
            ) from None
        if not _NAME.fullmatch(url.raw_host.decode()):
            raise ValueError(f"{url.host!r} is not the name of a host.") from None
        if url.scheme == "http" and not addresses.some_allowed():
            raise ValueError("Give a URL with https instead of http.") from None
        return
    if isinstance(literal, IPv6Address) and literal.scope_id:
        raise ValueError("Leave the zone (%...) out of the address: it exists only on one machine.")
    try:
        addresses.check(str(literal), with_tls=url.scheme == "https")
    except addresses.Refused as refusal:
        raise ValueError(str(refusal)) from refusal
