"""The way to an engine: a unix socket of this machine, or TCP with TLS both ways."""

import os
import weakref
from collections.abc import Mapping
from urllib.parse import urlsplit

from docker import APIClient
from docker.tls import TLSConfig

from clusters.drivers.base import Cause, DriverError

TIMEOUT_S = 10
"""For each call. An engine that takes longer is as good as gone: the next look tries again."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TLS = ("ca", "cert", "key")


class _Client(APIClient):
    """One that takes no proxy and no authority from the environment: an operator said the way."""

    @property
    def trust_env(self) -> bool:
        return False

    @trust_env.setter
    def trust_env(self, value: bool) -> None:
        """`requests` sets it for every session."""


def check_endpoint(endpoint: str, credentials: Mapping[str, str]) -> None:
    """Raise DriverError unless an engine may be reached like that."""
    address = urlsplit(endpoint)
    if address.scheme == "unix" and not address.netloc and address.path.startswith("/"):
        return
    if address.scheme != "tcp" or not address.hostname:
        raise _refused("Give the endpoint as unix:///path/of.sock or tcp://host:port.")
    missing = [name for name in _TLS if not credentials.get(name)]
    if missing and (credentials or address.hostname not in _LOOPBACK):
        raise _refused(
            "Over the network Docker needs TLS, as whoever reaches it is root there: give the CA,"
            f" the client's certificate and its key ({', '.join(missing)} missing)."
        )


def connect(endpoint: str, credentials: Mapping[str, str]) -> APIClient:
    """Return a client for the newest API that both sides know; this asks the engine for it."""
    check_endpoint(endpoint, credentials)
    if not credentials:
        return _Client(base_url=endpoint, version="auto", timeout=TIMEOUT_S)
    files = [_in_memory(credentials[name]) for name in _TLS]
    ca, cert, key = (f"/proc/self/fd/{file}" for file in files)
    tls = TLSConfig(ca_cert=ca, client_cert=(cert, key), verify=True)
    try:
        client = _Client(base_url=endpoint, version="auto", timeout=TIMEOUT_S, tls=tls)
    except BaseException:
        _close(files)
        raise
    # They are read again for each new connection of the client's.
    weakref.finalize(client, _close, files)
    return client


def _in_memory(text: str) -> int:
    """Return a file that no disk ever holds: OpenSSL takes credentials by path only."""
    file = os.memfd_create("credentials")
    os.write(file, text.encode())
    return file


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _refused(message: str) -> DriverError:
    return DriverError(message, retriable=False, cause=Cause.INVALID_SPEC)
