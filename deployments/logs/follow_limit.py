"""A followed log keeps a thread and a connection to its engine: only so many may be followed."""

from collections.abc import Generator, Iterator
from threading import Lock

from django.conf import settings

from hypervisor.base.errors import Busy

_RETRY_SECONDS = 10
_USERS_SHARE, _ORGANIZATIONS_SHARE = 4, 2
"""One user may have a quarter of all places, and one organization half of them."""

_lock = Lock()
_followers: set["Following"] = set()


class Following:
    """A stream with a place among the followers of this process, until it is closed.

    Raises Busy when there is no place left, or none for this user or organization.
    """

    def __init__(self, pieces: Iterator[bytes], *, user: int, organization: int) -> None:
        self._pieces = pieces
        self._user = user
        self._organization = organization
        with _lock:
            if reason := self._refusal():
                raise Busy(
                    f"{reason} Try again in {_RETRY_SECONDS} seconds, or read without `follow`.",
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

    def _refusal(self) -> str | None:
        places: int = settings.LOG_FOLLOWERS
        if len(_followers) >= places:
            return f"All {places} places to follow a log are taken."
        mine = sum(other._user == self._user for other in _followers)
        if mine >= max(1, places // _USERS_SHARE):
            return f"You follow {mine} logs already, the most that one user may: stop one of them."
        ours = sum(other._organization == self._organization for other in _followers)
        if ours >= max(1, places // _ORGANIZATIONS_SHARE):
            return f"Your organization follows {ours} logs already, the most that one may."
        return None
