"""The HTTP transport of the calls, with timeouts and persistent connections.

It follows neither redirections nor the environment's proxies, and does not repeat failed calls,
because that is the caller's decision.
"""

import json
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection

from clusters.drivers.base import Cause, DriverError
from clusters.drivers.kubernetes.access import Access
from clusters.drivers.kubernetes.errors import refusal

CONNECT_S = 4
READ_S = 15

_POOL = 64
_REFUSAL = 1 << 16

_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
"""Ends an idle stream within a minute after its other side has vanished."""


class Transport:
    """The connections to one API server."""

    def __init__(self, access: Access) -> None:
        settings: dict[str, Any] = {}
        if access.server.startswith("https:"):
            settings["ssl_context"] = _tls(access)
            if access.server_name:
                settings["server_hostname"] = access.server_name
                settings["assert_hostname"] = access.server_name
        self._server = access.server
        self._headers = {"Accept": "application/json, */*"}
        if access.token:
            self._headers["Authorization"] = f"Bearer {access.token}"
        self._pool = urllib3.PoolManager(
            retries=False,
            maxsize=_POOL,
            socket_options=[*HTTPConnection.default_socket_options, *_KEEPALIVE],
            **settings,
        )

    def request(
        self, method: str, path: str, body: object = None,
        query: Mapping[str, str | int] | None = None, read_s: float | None = READ_S,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """Return the open response; reading each part of it takes at most `read_s` seconds.

        Raises DriverError if there is no response, Refused for an error or a redirection.
        """
        address = f"{self._server}{path}?{urlencode(query)}" if query else f"{self._server}{path}"
        try:
            response = self._pool.request(
                method,
                address,
                body=None if body is None else json.dumps(body),
                headers={**self._headers, "Content-Type": _content_type(method)},
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=read_s),
            )
            if not 200 <= response.status <= 299:
                with response:
                    raise refusal(response.status, response.headers, response.read(_REFUSAL))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(error) from error
        return response


def _content_type(method: str) -> str:
    kind = "strategic-merge-patch+json" if method == "PATCH" else "json"
    return f"application/{kind}"


def unreachable(error: Exception) -> DriverError:
    """Return the error for a call that got no response."""
    if isinstance(error, urllib3.exceptions.SSLError):
        return DriverError(
            f"The API server's certificate is not trusted ({error}): give the `ca` that issued it.",
            retriable=True,
            cause=Cause.UNREACHABLE,
        )
    root = _root(error)
    why = (isinstance(root, OSError) and root.strerror) or str(root) or type(root).__name__
    return DriverError(
        f"The API server cannot be reached: {why}. An operator has to check that it runs, and how"
        " the cluster is connected to it.",
        retriable=True,
        cause=Cause.UNREACHABLE,
    )


def _root(error: BaseException) -> BaseException:
    """Return the original error, which the libraries wrap several times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _tls(access: Access) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if access.authority:
            context.load_verify_locations(cadata=access.authority)
        else:
            context.load_default_certs()
        if access.certificate:
            _load_certificate(context, access)
    except (ssl.SSLError, ValueError) as error:
        raise DriverError(
            "The credentials cannot be used, because a certificate or key is not a valid PEM text:"
            " give the connection new ones.",
            retriable=False,
            cause=Cause.UNREACHABLE,
        ) from error
    return context


def _load_certificate(context: ssl.SSLContext, access: Access) -> None:
    """Load the client's certificate, which Python's ssl reads only from files."""
    # The file has mode 0600, in a folder of mode 0700, and exists only while it is read.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "client.pem"
        path.touch(mode=0o600)
        path.write_text(f"{access.certificate}\n{access.key}\n")
        context.load_cert_chain(path)
