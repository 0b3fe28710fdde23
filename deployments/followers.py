"""Who follows a log keeps a thread of the web server: only so many may at once."""

from collections.abc import Generator, Iterator
from threading import Lock

from django.conf import settings

from accounts.errors import Busy

_RETRY_SECONDS = 10

_lock = Lock()
_followers: set["Following"] = set()


class Following:
    """A stream with a place among the followers, until it is closed.

    Raises Busy when there is no place left.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        with _lock:
            if len(_followers) >= settings.LOG_FOLLOWERS:
                raise Busy(
                    f"{len(_followers)} logs are being followed here already: try again in"
                    f" {_RETRY_SECONDS} seconds, or read without `follow`.",
                    retry_after_s=_RETRY_SECONDS,
                )
            _followers.add(self)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Called by the web server when the answer is over, whoever ended it."""
        with _lock:
            _followers.discard(self)
        if isinstance(self._pieces, Generator):
            self._pieces.close()
