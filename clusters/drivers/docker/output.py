"""What a container wrote, as a stream that can be given up while it is silent."""

from collections.abc import Iterator
from queue import Empty, Queue
from threading import Thread

from docker import APIClient
from docker.types.daemon import CancellableStream

SILENCE_S = 5.0
"""After so long without output the listener gets an empty piece."""

_PIECES = 64
"""How far the engine may be ahead of a slow listener."""


def read(engine: APIClient, container: str, *, tail: int | None, follow: bool) -> Iterator[bytes]:
    stream = engine.logs(
        container, stream=True, follow=follow, tail="all" if tail is None else tail
    )
    return _with_silence(stream) if follow else iter(stream)


def _with_silence(stream: "CancellableStream[bytes]") -> Iterator[bytes]:
    # Reading from the engine blocks, so a thread does it: the listener may go away meanwhile.
    pieces: Queue[bytes | None] = Queue(_PIECES)
    thread = Thread(target=_pump, args=(stream, pieces), name="container-output", daemon=True)
    thread.start()
    piece: bytes | None = b""
    try:
        while True:
            try:
                piece = pieces.get(timeout=SILENCE_S)
            except Empty:
                piece = b""
            if piece is None:
                return
            yield piece
    finally:
        stream.close()
        while piece is not None:  # the thread may wait for room
            piece = pieces.get()
        thread.join()


def _pump(stream: "CancellableStream[bytes]", pieces: "Queue[bytes | None]") -> None:
    try:
        for piece in stream:
            pieces.put(piece)
    finally:
        pieces.put(None)
