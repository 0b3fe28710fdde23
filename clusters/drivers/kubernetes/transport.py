"""How the calls travel.

The official client's own transport wants certificates in files, logs the bodies of answers (which
hold the containers' environments), follows the environment's proxies and repeats failed calls by
itself. This one does none of that, and gives every call a time limit.
"""

import json
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client.rest import RESTClientObject
from urllib3.connection import HTTPConnection

from clusters.drivers.base import Cause, DriverError
from clusters.drivers.kubernetes.access import Access
from clusters.drivers.kubernetes.errors import refusal

CONNECT_S = 4
READ_S = 15

_POOL = 16
_REFUSAL = 1 << 16

_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
"""A stream that is silent by nature ends within a minute when the other side has vanished."""


class Transport(RESTClientObject):  # type: ignore[misc]
    def __init__(self, access: Access) -> None:
        settings: dict[str, Any] = {}
        if access.server.startswith("https:"):
            settings["ssl_context"] = _tls(access)
            if access.server_name:
                settings["server_hostname"] = access.server_name
                settings["assert_hostname"] = access.server_name
        self.pool_manager = urllib3.PoolManager(
            retries=False,
            maxsize=_POOL,
            socket_options=[*HTTPConnection.default_socket_options, *_KEEPALIVE],
            **settings,
        )

    def request(
        self, method: str, url: str, query_params: Any = None, headers: Any = None,
        body: Any = None, post_params: Any = None, _preload_content: bool = True,
        _request_timeout: tuple[float, float | None] = (CONNECT_S, READ_S),
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        headers = dict(headers or {})
        if method == "PATCH":
            headers["Content-Type"] = "application/strategic-merge-patch+json"
        if query_params:
            url = f"{url}?{urlencode(query_params)}"
        connect, read = _request_timeout
        try:
            response = self.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                preload_content=False,
                timeout=urllib3.Timeout(connect=connect, read=read),
            )
            if not 200 <= response.status <= 299:
                with response:
                    raise refusal(response.status, response.headers, response.read(_REFUSAL))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(error) from error
        return response


def unreachable(error: Exception) -> DriverError:
    """Return what it means that no answer came."""
    if isinstance(error, urllib3.exceptions.SSLError):
        return DriverError(
            f"The API server's certificate is not trusted ({error}): give the `ca` that signed it.",
            retriable=True,
            cause=Cause.UNREACHABLE,
        )
    root = _root(error)
    why = (isinstance(root, OSError) and root.strerror) or str(root) or type(root).__name__
    return DriverError(
        f"The API server cannot be reached: {why}.", retriable=True, cause=Cause.UNREACHABLE
    )


def _root(error: BaseException) -> BaseException:
    """Return what was raised first: the libraries wrap it several times."""
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
            "The credentials cannot be used: a certificate or key is not a valid PEM text.",
            retriable=False,
            cause=Cause.UNREACHABLE,
        ) from error
    return context


def _load_certificate(context: ssl.SSLContext, access: Access) -> None:
    """Load the client's certificate, which Python's ssl takes from files alone."""
    # Both come with mode 0600, in a folder of mode 0700, for as long as they are read.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "client.pem"
        path.touch(mode=0o600)
        path.write_text(f"{access.certificate}\n{access.key}\n")
        context.load_cert_chain(path)
