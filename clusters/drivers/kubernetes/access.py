"""Read from an operator's input how an API server is reached.

A kubeconfig may instruct its reader to run a program or read a file. Because the reader here is a
server, such entries are refused: the text itself has to contain everything.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from clusters.drivers.base import Cause, DriverError

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_IN_CLUSTER = {
    "certificate-authority": "put the file's content into `certificate-authority-data`, base64",
    "insecure-skip-tls-verify": "give `certificate-authority-data` instead",
    "proxy-url": "give an address that can be reached directly",
}
_IN_USER = {
    "exec": "create a token for a service account and give that",
    "auth-provider": "create a token for a service account and give that",
    "tokenFile": "give the file's content as `token`",
    "client-certificate": "put the file's content into `client-certificate-data`, base64",
    "client-key": "put the file's content into `client-key-data`, base64",
    "username": "create a token for a service account and give that",
    "password": "create a token for a service account and give that",
    "as": "give the account's own credentials",
}


@dataclass(frozen=True, slots=True)
class Access:
    """An API server and the credentials for it; certificates and the key are PEM texts."""

    server: str
    token: str = field(default="", repr=False)
    authority: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)
    server_name: str = ""


def read(endpoint: str, credentials: Mapping[str, str]) -> Access:
    """Return how to reach the API server at `endpoint`.

    `credentials` hold either `kubeconfig`, whose current context is used, or `token`, with the PEM
    text of the server's authority as `ca` unless the system already trusts it. Raises DriverError,
    which never quotes credentials.
    """
    if kubeconfig := credentials.get("kubeconfig"):
        return _from_kubeconfig(endpoint, _parsed(kubeconfig))
    if not credentials.get("token"):
        raise _refused("give `kubeconfig`, or `token` and `ca`")
    return Access(
        _server(endpoint), token=_token(credentials["token"]), authority=credentials.get("ca", "")
    )


def _parsed(kubeconfig: str) -> Mapping[str, Any]:
    try:
        config = yaml.safe_load(kubeconfig)
    except yaml.YAMLError:
        config = None
    if not isinstance(config, Mapping):
        raise _refused("`kubeconfig` is not the text of a kubeconfig file")
    return config


def _from_kubeconfig(endpoint: str, config: Mapping[str, Any]) -> Access:
    context = _named(config, "context", config.get("current-context"))
    cluster = _named(config, "cluster", context.get("cluster"))
    user = _named(config, "user", context.get("user"))
    _refuse(cluster, _IN_CLUSTER)
    _refuse(user, _IN_USER)
    server = _server(str(cluster.get("server", "")))
    if endpoint and _server(endpoint) != server:
        raise _refused(
            f"the kubeconfig's server is {server}, but the given API server is {endpoint}:"
            " give only one, or the same in both"
        )
    return Access(
        server,
        token=_token(str(user.get("token") or "")),
        authority=_decoded(cluster, "certificate-authority-data"),
        certificate=_decoded(user, "client-certificate-data"),
        key=_decoded(user, "client-key-data"),
        server_name=str(cluster.get("tls-server-name", "")),
    )


def _named(config: Mapping[str, Any], kind: str, name: object) -> Mapping[str, Any]:
    entries = config.get(f"{kind}s")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, Mapping) and entry.get("name") == name:
            found = entry.get(kind)
            if isinstance(found, Mapping):
                return found
    raise _refused(f"the kubeconfig has no {kind} named {name}")


def _refuse(section: Mapping[str, Any], remedies: Mapping[str, str]) -> None:
    for name, remedy in remedies.items():
        if section.get(name):
            raise _refused(f"`{name}` is not accepted: {remedy}")


def _decoded(section: Mapping[str, Any], name: str) -> str:
    try:
        return base64.b64decode(str(section.get(name, "")), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise _refused(f"`{name}` is not a PEM text in base64") from None


def _token(text: str) -> str:
    """Return the token if it can be sent in a header."""
    if text and not re.fullmatch(r"[!-~]+", text):
        raise _refused("`token` must be a single word of ASCII characters")
    return text


def _server(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return address.rstrip("/")
    if parts.scheme != "https" or not parts.hostname:
        raise _refused(f"the API server's address must begin with https://, but is {address!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _refused("the API server's address may have only a host, a port and a path")
    return address.rstrip("/")


def _refused(why: str) -> DriverError:
    return DriverError(
        f"The API server cannot be reached with these settings: {why}.",
        retriable=False,
        cause=Cause.UNREACHABLE,
    )
