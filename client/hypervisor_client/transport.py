"""Send requests, and repeat those that the service did not carry out or may carry out again."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from hypervisor_client.errors import ApiError, ClientError, Unreachable, problems_of

_BUSY = (429, 503)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_CONNECT_S = 5.0
"""How long an attempt waits for a connection: a machine that is off sends no refusal."""

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Transport:
    """A connection to one service.

    A request is repeated for up to `patience_s` seconds if it did not reach the service, or if the
    service was too busy. Each POST has an `Idempotency-Key`, so it may be repeated as well when its
    response was lost: it takes effect at most once.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float,
        patience_s: float,
        note: Callable[[str], None] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ClientError(f"{url!r} is no address: give one such as https://gpu.example.org.")
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        self._note = note or (lambda _: None)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=_timeout(timeout_s), follow_redirects=False
        )

    def close(self) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        """Return the response. Raises ApiError for an error response, and Unreachable."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        timeout = self._http.timeout if timeout_s is None else _timeout(timeout_s)
        request = self._http.build_request(
            method, path, params=params, json=body, headers=headers, timeout=timeout
        )
        return _checked(self._sent(request))

    def _sent(self, request: httpx.Request) -> httpx.Response:
        """Return the response of the last attempt. Raises Unreachable if it had none."""
        until = time.monotonic() + self._patience_s
        for attempt, pause in enumerate(_pauses()):
            try:
                response = self._http.send(request)
            except httpx.TransportError as error:
                if not _may_repeat(request.method, error) or time.monotonic() + pause > until:
                    raise self._unreachable(error) from error
                trouble = f"does not answer ({_reason(error)})"
            else:
                pause = _wait_of(response, pause)
                if response.status_code not in _BUSY or time.monotonic() + pause > until:
                    return response
                trouble = f"is busy (status {response.status_code})"
            if attempt == 0:
                self._note(f"{self.url} {trouble}. Trying again for {self._patience_s:g} s ...")
            time.sleep(pause)
        raise AssertionError  # The pauses do not end.

    @contextmanager
    def stream(self, path: str, params: Mapping[str, Any]) -> Iterator[httpx.Response]:
        """Open a response that goes on for as long as the service sends."""
        timeout = httpx.Timeout(30, read=None, connect=_CONNECT_S)
        try:
            with self._http.stream("GET", path, params=dict(params), timeout=timeout) as response:
                if response.status_code >= 400:
                    response.read()
                yield _checked(response)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(f"{self.url} does not answer ({_reason(error)}): is the address right?")


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_S))


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__


def _pauses() -> Iterator[float]:
    """Yield seconds to wait before the next attempts, which spread the attempts of many clients."""
    pause = _FIRST_PAUSE_S
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311 not a secret
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _may_repeat(method: str, error: httpx.TransportError) -> bool:
    """A DELETE that was carried out would fail when it is repeated, all others may be."""
    return method != "DELETE" or isinstance(error, _NEVER_SENT)


def _wait_of(response: httpx.Response, pause: float) -> float:
    text = response.headers.get("Retry-After", "")
    return max(float(text), pause) if text.isdigit() else pause


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    if response.is_redirect:
        raise ClientError(
            f"{response.url} leads to {response.headers.get('Location')}: use that address."
        )
    try:
        body = response.json()
    except ValueError:
        body = None
    status = response.status_code
    raise ApiError(status, problems_of(body, status), response.headers.get("X-Request-ID", ""))
