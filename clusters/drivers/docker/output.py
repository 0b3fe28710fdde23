"""What a container wrote, as a stream that can be given up while it is silent."""

from collections.abc import Iterator
from queue import Empty, Queue
from threading import Thread

from docker import APIClient
from docker.types.daemon import CancellableStream

from clusters.drivers.docker.client import TIMEOUT_S

SILENCE_S = 1.0
"""After so long without output a follower gets an empty piece."""

_PIECES = 64
"""How far the engine may be ahead of a slow listener."""


def read(engine: APIClient, container: str, *, tail: int | None, follow: bool) -> Iterator[bytes]:
    """Raises TimeoutError when the engine keeps back what is there already."""
    stream = engine.logs(
        container, stream=True, follow=follow, tail="all" if tail is None else tail
    )
    # Reading blocks, without any limit, so a thread does it.
    pieces: Queue[bytes | None] = Queue(_PIECES)
    Thread(target=_pump, args=(stream, pieces), name="container-output", daemon=True).start()
    piece: bytes | None = b""
    try:
        while (piece := _next(pieces, follow)) is not None:
            yield piece
    finally:
        stream.close()
        while piece is not None:  # the thread may wait for room
            piece = pieces.get()


def _next(pieces: "Queue[bytes | None]", follow: bool) -> bytes | None:
    try:
        return pieces.get(timeout=SILENCE_S if follow else TIMEOUT_S)
    except Empty:
        if follow:
            return b""
        raise TimeoutError from None


def _pump(stream: "CancellableStream[bytes]", pieces: "Queue[bytes | None]") -> None:
    try:
        for piece in stream:
            pieces.put(piece)
    finally:
        pieces.put(None)
