"""Connections that limit how many bytes are read for a request.

A receiver is the tenant's program. The client that reads its response accepts any number of
informational responses before the final one, and each of them costs the event loop time.
"""

import ssl
from typing import Any

import httpcore

MOST_BYTES = 64 * 1024
"""How much is read for a request: the response with its body, and whatever comes before it."""

_PIECE = 4 * 1024
"""How much is read at once. Between two pieces, it is the turn of the loop's other coroutines."""


class TooLong(httpcore.RemoteProtocolError):
    """The receiver has sent more than MOST_BYTES for a request."""


class Network(httpcore.AnyIOBackend):
    """Opens the connections of one client, which has one request under way at a time."""

    def __init__(self) -> None:
        self.left = MOST_BYTES

    def begin_request(self) -> None:
        self.left = MOST_BYTES

    async def connect_tcp(self, *where: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await super().connect_tcp(*where, **options), self)


class _Stream(httpcore.AsyncNetworkStream):
    """Reads no more than the network allows. Bytes are counted after TLS has decrypted them."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, network: Network) -> None:
        self._stream = stream
        self._network = network

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        network = self._network
        if not network.left:
            raise TooLong
        data = await self._stream.read(min(max_bytes, network.left, _PIECE), timeout)
        network.left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        encrypted = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(encrypted, self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
