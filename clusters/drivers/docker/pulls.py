"""Images are fetched by a thread apart, so that a large one holds up nobody else on its engine.

What goes on is noted in the cache, for all workers: an image is fetched once, and why it could not
be fetched is told to whoever starts it next. Without the cache each process may ask for it, and the
engine itself makes one fetch of them.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic
from typing import Any

import structlog
from django.core.cache import cache
from docker import APIClient
from docker.errors import APIError

from clusters.drivers.base import Cause, DriverError
from clusters.drivers.docker.errors import pull_failed, translated

_ALIVE_S = 60
"""A fetch that has not been heard of for so long has died with its worker."""

_REMEMBERED_S = 10
"""How long what became of a fetch is told instead of asking the registry again."""

_FETCHING, _FETCHED = "fetching", "fetched"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Failure:
    message: str
    retriable: bool
    cause: Cause


class Pulls:
    """The fetches of one engine; `done` is called after each."""

    def __init__(self, engine: str, connect: Callable[[], APIClient], done: Callable[[], None]):
        self._engine = engine
        self._connect = connect
        self._done = done
        self._mine: set[str] = set()
        self._lock = Lock()

    def fetch(self, image: str) -> None:
        """Fetch an image in the background, and always raise: why it is not here yet, or never."""
        state = self._state(image)
        if isinstance(state, _Failure):
            raise DriverError(state.message, retriable=state.retriable, cause=state.cause)
        if state == _FETCHED:
            raise DriverError(
                f"Image {image} was fetched, and the engine does not have it.", retriable=True
            )
        if state is None:
            self._begin(image)
        raise DriverError(
            f"Image {image} is being fetched.", retriable=True, cause=Cause.FETCHING_IMAGE
        )

    def _begin(self, image: str) -> None:
        with self._lock:
            if image in self._mine:
                return
            self._mine.add(image)
        self._note(image, _FETCHING, _ALIVE_S)
        Thread(target=self._run, args=(image,), name=f"pull-{image}", daemon=True).start()

    def _run(self, image: str) -> None:
        try:
            with translated(), self._client() as client:
                self._pull(client, image)
            self._note(image, _FETCHED, _REMEMBERED_S)
        except DriverError as error:
            log.info("pull_failed", engine=self._engine, image=image, error=str(error))
            self._note(image, _Failure(str(error), error.retriable, error.cause), _REMEMBERED_S)
        finally:
            with self._lock:
                self._mine.discard(image)
            self._done()

    def _pull(self, client: APIClient, image: str) -> None:
        noted = monotonic()
        try:
            for line in client.pull(image, stream=True, decode=True):
                if "error" in line:
                    raise pull_failed(image, str(line["error"]))
                if monotonic() - noted > _ALIVE_S / 3:
                    noted = monotonic()
                    self._note(image, _FETCHING, _ALIVE_S)
        except APIError as error:
            status = error.response.status_code if error.response is not None else None
            raise pull_failed(image, str(error.explanation or error), status) from error

    @contextmanager
    def _client(self) -> Iterator[APIClient]:
        """Yield a client of the thread's own: a session is not for two threads."""
        client = self._connect()
        try:
            yield client
        finally:
            client.close()

    def _state(self, image: str) -> Any:
        with suppress(Exception):
            return cache.get(self._key(image))
        return None

    def _note(self, image: str, state: Any, seconds: int) -> None:
        with suppress(Exception):
            cache.set(self._key(image), state, seconds)

    def _key(self, image: str) -> str:
        return f"pull:{self._engine}:{hashlib.sha256(image.encode()).hexdigest()}"
