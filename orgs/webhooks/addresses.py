"""Which IP addresses may be called for a tenant: public ones, and those that the operator allows.

A tenant chooses the name, and thereby the address. The machines that send are inside the operator's
network, where other services trust them.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_PUBLIC_IPV6 = IPv6Network("2000::/3")
"""All IPv6 addresses that are assigned to hosts of the internet."""

_NOT_PUBLIC: Sequence[Network] = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        # Multicast, reserved and broadcast.
        "224.0.0.0/4", "240.0.0.0/4",
        # A public address at which a cloud's host answers its virtual machines.
        "168.63.129.16/32",
        # Protocol assignments with Teredo and ORCHID, documentation, 6to4.
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
]  # fmt: skip
"""The special-purpose networks of IANA. NAT64, loopback, link-local, unique local, IPv4-compatible
and multicast addresses of IPv6 are outside of _PUBLIC_IPV6."""


class Refused(Exception):
    """An address that may not be called; the text is a sentence without the address."""


def check(text: str, *, with_tls: bool) -> str:
    """Return the address in the form in which to connect to it. Raises Refused."""
    address = _plain(ip_address(text))
    if any(address in network for network in settings.WEBHOOK_ALLOWED_NETWORKS):
        return str(address)
    if not _is_public(address):
        raise Refused(
            "The host has an address that is not public. The operator may allow its network"
            " (WEBHOOK_ALLOWED_NETWORKS)."
        )
    if not with_tls:
        raise Refused(
            "The URL has http, which is possible only for addresses in networks that the operator"
            " has allowed (WEBHOOK_ALLOWED_NETWORKS). Change it to https."
        )
    return str(address)


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address of the form ::ffff:a.b.c.d stands for."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _PUBLIC_IPV6:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def some_allowed() -> bool:
    """Return whether the operator allows networks besides the public ones."""
    return bool(settings.WEBHOOK_ALLOWED_NETWORKS)
