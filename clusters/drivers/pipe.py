"""A pipe between two threads whose reader gets all buffered data in one piece."""

from collections.abc import Callable, Iterable, Iterator
from threading import Condition, Thread

_FULL = 256 * 1024
"""How many bytes the writer may be ahead of the reader."""

_JOIN_S = 5


def relayed(
    pieces: Iterable[bytes], *, silence_s: float, hang_up: Callable[[], object]
) -> Iterator[bytes]:
    """Read `pieces` in a thread, and yield the data that has arrived as soon as there is any.

    An empty piece means that nothing arrived for `silence_s` seconds. A thread is needed because a
    blocked read cannot be resumed after a timeout; `hang_up` ends the read. Raises the errors of
    the read.
    """
    pipe = _Pipe()
    reader = Thread(target=pipe.fill, args=(pieces,), name="container-output", daemon=True)
    reader.start()
    try:
        while (piece := pipe.take(silence_s)) is not None:
            yield piece
    finally:
        pipe.close()
        hang_up()
        reader.join(_JOIN_S)


class _Pipe:
    def __init__(self) -> None:
        self._changed = Condition()
        self._parts: list[bytes] = []
        self._size = 0
        self._is_over = self._is_closed = False
        self._error: Exception | None = None

    def fill(self, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                if not self._put(piece):
                    break
        except Exception as error:  # noqa: BLE001 raised in the reader's thread
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def take(self, seconds: float) -> bytes | None:
        """Return the buffered data, b"" if none arrives for so many seconds, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._parts or self._is_over, seconds)
            piece = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._changed.notify_all()
            if piece or not self._is_over:
                return piece
        if self._error:
            raise self._error
        return None

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _put(self, piece: bytes) -> bool:
        """Add the piece once the buffer is not full; return whether the reader is still there."""
        with self._changed:
            self._changed.wait_for(lambda: self._size < _FULL or self._is_closed)
            self._parts.append(piece)
            self._size += len(piece)
            self._changed.notify_all()
            return not self._is_closed
