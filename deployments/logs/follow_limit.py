"""A limit on followed logs, because each keeps a thread and a connection to its engine."""

from collections.abc import Generator, Iterator
from threading import Lock

from django.conf import settings

from hypervisor.base.errors import Busy

_RETRY_SECONDS = 10
_USERS_SHARE, _ORGANIZATIONS_SHARE = 4, 2
"""One user may follow a quarter of LOG_FOLLOWERS, and one organization half of it."""

_lock = Lock()
_followers: set["Following"] = set()


class Following:
    """A stream that counts towards this process's followed logs until it is closed.

    Raises Busy if this process, the user or the organization follows too many logs already.
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
        """Stop counting. The web server calls this when the response ends, for any reason."""
        with _lock:
            _followers.discard(self)
        if isinstance(self._pieces, Generator):
            self._pieces.close()

    def _refusal(self) -> str | None:
        limit: int = settings.LOG_FOLLOWERS
        if len(_followers) >= limit:
            return f"{limit} logs are being followed, which is the limit."
        by_user = sum(other._user == self._user for other in _followers)
        if by_user >= max(1, limit // _USERS_SHARE):
            return f"You already follow {by_user} logs, which is the limit: stop one of them."
        by_all = sum(other._organization == self._organization for other in _followers)
        if by_all >= max(1, limit // _ORGANIZATIONS_SHARE):
            return f"Your organization already follows {by_all} logs, which is the limit."
        return None
