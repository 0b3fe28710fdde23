"""Many POSTs over persistent connections, with as little CPU for the client as Python allows."""

import json
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from typing import Any
from urllib.parse import urlsplit

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a number of requests was answered; the percentiles are in milliseconds."""

    clients: int
    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def __str__(self) -> str:
        return f"{self.rate:.0f}/s, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms"


def hammer(url: str, token: str, bodies: Callable[[int], Iterable[Any]], *, clients: int) -> Pace:
    """POST the bodies of each client one by one; the clients work at the same time.

    Raises RuntimeError for a response other than 201.
    """
    prepared = [[_request(url, token, body) for body in bodies(n)] for n in range(clients)]
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(lambda requests: _send(url, requests), prepared))
    seconds = time.perf_counter() - began
    times = sorted(took for client in each for took in client)
    return Pace(clients, len(times), seconds, _percentile(times, 50), _percentile(times, 99))


def _percentile(ascending: list[float], percent: int) -> float:
    """Return the nearest rank, in milliseconds."""
    return 1000 * ascending[max(0, -(-percent * len(ascending) // 100) - 1)]


def _request(url: str, token: str, body: Any) -> bytes:
    address, payload = urlsplit(url), json.dumps(body).encode()
    head = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


def _send(url: str, requests: list[bytes]) -> list[float]:
    """Send the requests one after the other; return the seconds that each took."""
    address = urlsplit(url)
    took = []
    with socket.create_connection((address.hostname or "", address.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as reader:
            for request in requests:
                began = time.perf_counter()
                connection.sendall(request)
                _read(reader)
                took.append(time.perf_counter() - began)
    return took


def _read(reader: BufferedReader) -> None:
    status, length = reader.readline(), 0
    while (line := reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body = reader.read(length)
    if status.split()[1:2] != [b"201"]:
        raise RuntimeError(f"{status.decode()}{body[:500].decode()}")
