"""The client of an engine: over a unix socket of this machine, or over TCP with mutual TLS."""

import os
import weakref
from collections.abc import Mapping
from urllib.parse import urlsplit

from docker import APIClient
from docker.tls import TLSConfig

from clusters.drivers.base import Cause, DriverError

TIMEOUT_S = 10
"""The timeout of each call. An engine that takes longer counts as unreachable until the next
reconcile."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TLS = ("ca", "cert", "key")


class _Client(APIClient):
    """A client that takes no proxy and no certificate authority from the environment, because the
    operator has configured how the engine is reached."""

    @property
    def trust_env(self) -> bool:
        return False

    @trust_env.setter
    def trust_env(self, value: bool) -> None:
        """Ignore the value, which `requests` sets for every session."""


def check_endpoint(endpoint: str, credentials: Mapping[str, str]) -> None:
    """Raise DriverError unless the endpoint is valid and, over the network, protected by TLS."""
    address = urlsplit(endpoint)
    if address.scheme == "unix" and not address.netloc and address.path.startswith("/"):
        return
    if address.scheme != "tcp" or not address.hostname:
        raise _refused("Give the endpoint as unix:///path/of.sock or tcp://host:port.")
    missing = [name for name in _TLS if not credentials.get(name)]
    if missing and (credentials or address.hostname not in _LOOPBACK):
        raise _refused(
            "Over the network Docker needs TLS, because access to it is root access to its machine:"
            f" give the CA, the client's certificate and its key (missing: {', '.join(missing)})."
        )


def connect(endpoint: str, credentials: Mapping[str, str]) -> APIClient:
    """Return a client for the newest API that both sides support, which it asks the engine for."""
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
    # The client reads the files again for each new connection.
    weakref.finalize(client, _close, files)
    return client


def _in_memory(text: str) -> int:
    """Return a file in memory, because OpenSSL takes credentials only by path."""
    file = os.memfd_create("credentials")
    os.write(file, text.encode())
    return file


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _refused(message: str) -> DriverError:
    return DriverError(message, retriable=False, cause=Cause.INVALID_SPEC)
