"""One attempt to deliver a message, by a POST to an address that was checked."""

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Self

import httpcore
import httpx

from hypervisor.base.numbers import whole
from orgs.webhooks.addresses import Refused, check
from orgs.webhooks.connections import MOST_BYTES, Network, TooLong
from orgs.webhooks.targets import port_of

TOTAL_S = 15.0
"""The time limit of an attempt, from the resolution of the name to the head of the response."""

_CONNECT_S = 5.0
_BODY_S = 2.0
"""How long a response's body is read, so that the next message can use the connection. It is not
kept: a tenant must not be able to read the responses of addresses that the operator allows."""

_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError)

_MAY_WAIT = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

# The system's resolver cannot be interrupted, so a name server that hangs occupies threads of its
# own. They are twice as many as the attempts that a process makes at once, because a question goes
# on after its attempt: the name servers of one organization must not delay the attempts of others.
_resolvers = ThreadPoolExecutor(400, "resolver")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt: delivered, or an `error` as a sentence for people.

    `status` is that of the response if there was one, `retry_after_s` what it asked for.
    """

    status: int | None = None
    error: str = ""
    retry_after_s: int | None = None

    @property
    def is_delivered(self) -> bool:
        return not self.error

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no further messages."""
        return self.status == HTTPStatus.GONE


class Receiver:
    """The server at a webhook's URL, whose name is resolved once.

    The connection goes to one of the addresses that were checked then, so an answer of the name
    server that changes has no effect. TLS verifies the name all the same.
    """

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)
        self._with_tls = self._url.scheme == "https"
        self._addresses: Sequence[str] = ()
        self._network = Network()
        # It uses no proxy of the environment, which would resolve the name again.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(), max_connections=1, network_backend=self._network
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def post(self, body: bytes, headers: Mapping[str, str], now: datetime) -> Outcome:
        """Send a message; return what became of it, whatever happens."""
        try:
            async with asyncio.timeout(TOTAL_S):
                response = await self._send(body, headers)
        except (TimeoutError, httpcore.TimeoutException):
            return Outcome(error=f"There was no response within {TOTAL_S:.0f} seconds.")
        except Refused as refusal:
            return Outcome(error=str(refusal))
        except (OSError, UnicodeError):
            return Outcome(error="The name of the host cannot be resolved.")
        except httpcore.ConnectError as error:
            return Outcome(error=_why_not_connected(error))
        except TooLong:
            return Outcome(
                error=f"The receiver sent more than {MOST_BYTES // 1024} KiB before its response."
            )
        except _BROKEN:
            return Outcome(error="The connection ended without a valid HTTP response.")
        try:
            return _outcome_of(response, now)
        finally:
            await _finish(response)

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> httpcore.Response:
        """Send to the first of the addresses that accepts a connection."""
        if not self._addresses:
            self._addresses = await self._resolve()
        *others, last = self._addresses
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._send_to(address, body, headers)
        return await self._send_to(last, body, headers)

    async def _send_to(
        self, address: str, body: bytes, headers: Mapping[str, str]
    ) -> httpcore.Response:
        url = self._url
        request = httpcore.Request(
            "POST",
            httpcore.URL(scheme=url.raw_scheme, host=address, port=url.port, target=url.raw_path),
            content=body,
            headers=[*self._headers(body).items(), *headers.items()],
            extensions={
                "timeout": {"connect": _CONNECT_S},
                "sni_hostname": url.raw_host.decode() if self._with_tls else None,
            },
        )
        self._network.begin_request()
        response = await self._pool.handle_async_request(request)
        self._addresses = [address]
        return response

    def _headers(self, body: bytes) -> dict[str, str]:
        return {
            "Host": self._url.netloc.decode(),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": "MLOps-Hypervisor",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }

    async def _resolve(self) -> list[str]:
        """Return the addresses of the host. Raises Refused if one of them may not be called."""
        host, port = self._url.raw_host.decode(), port_of(self._url)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(_resolvers, _look_up, host, port)
        return [check(address, with_tls=self._with_tls) for address in found]


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@cache
def _tls() -> ssl.SSLContext:
    # It trusts the usual authorities, or those of SSL_CERT_FILE.
    return httpx.create_ssl_context()


def _outcome_of(response: httpcore.Response, now: datetime) -> Outcome:
    status = response.status
    if httpx.codes.is_success(status):
        return Outcome(status)
    if httpx.codes.is_redirect(status):
        error = "Redirects are not followed: change the URL to the one that it redirects to."
    elif status == HTTPStatus.GONE:
        error = "The receiver answered 410 (Gone): it wants no further messages."
    else:
        error = f"The receiver answered with the status {status}."
    wait_s = _retry_after(httpx.Headers(response.headers), now) if status in _MAY_WAIT else None
    return Outcome(status, error, wait_s)


def _retry_after(headers: httpx.Headers, now: datetime) -> int | None:
    """Return the seconds that the response asks to wait, given as a number or as a date."""
    text = headers.get("retry-after", "")
    if (seconds := whole(text)) is not None:
        return max(seconds, 0)
    try:
        return max(round((parsedate_to_datetime(text) - now).total_seconds()), 0)
    except (TypeError, ValueError):
        return None


async def _finish(response: httpcore.Response) -> None:
    """Read a short body, so that the connection can be used again; else close the connection."""
    with suppress(TimeoutError, *_BROKEN):
        async with asyncio.timeout(_BODY_S):
            async for _ in response.aiter_stream():
                pass
    await response.aclose()


def _why_not_connected(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"The certificate is not valid: {error.verify_message.rstrip('.')}."
        if isinstance(error, ssl.SSLError):
            return "The host does not speak TLS on this port as expected."
        error = error.__cause__ or error.__context__
    return "The host does not accept connections on this port."
