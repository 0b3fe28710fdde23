"""A container's output, read from the API server as it comes."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Queue
from typing import Any

import urllib3

from clusters.drivers.kubernetes.transport import unreachable

SILENCE_S = 1.0
"""A caller who follows gets b"" after so long without output, to see whether it is still heard."""

_PIECE = 1 << 16


def whole(response: Any) -> Iterator[bytes]:
    """Yield the answer in pieces."""
    try:
        yield from response.stream(_PIECE)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(error) from error
    finally:
        response.close()


def followed(response: Any) -> Iterator[bytes]:
    """Yield each piece when it comes, until the container ends or the caller leaves."""
    # A blocked read cannot be resumed after a time limit: so another thread has it, and we wait
    # for what it hands over.
    pieces: Queue[bytes | Exception | None] = Queue(maxsize=16)
    left = threading.Event()
    reader = threading.Thread(target=_read, args=(response, pieces, left), daemon=True)
    reader.start()
    try:
        while True:
            try:
                piece = pieces.get(timeout=SILENCE_S)
            except Empty:
                piece = b""
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise unreachable(piece) from piece
            yield piece
    finally:
        left.set()
        with suppress(Exception):
            response.shutdown()
        _drain(pieces)
        reader.join()
        response.close()


def _read(response: Any, pieces: "Queue[bytes | Exception | None]", left: threading.Event) -> None:
    end: Exception | None = None
    try:
        for piece in response.stream(None):
            pieces.put(piece)
            if left.is_set():
                return
    except (urllib3.exceptions.HTTPError, OSError) as error:
        end = error
    pieces.put(end)


def _drain(pieces: "Queue[bytes | Exception | None]") -> None:
    """Let a reader go on that waits for room in the queue."""
    with suppress(Empty):
        while True:
            pieces.get_nowait()
